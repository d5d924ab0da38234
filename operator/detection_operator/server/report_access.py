"""Finds the trainer's pod behind a verified token, and refuses every other pod.

A pod may report if it is alive, if its labels and its Job's name are those of an attempt of the
training, and if the training controls that Job. Labels alone prove nothing: users may set them. The
checks are ordered by their cost: the caches, then what was found absent a moment ago, then a read
of the API within the limits of `LookUps`.
"""

from http import HTTPStatus

from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import JOBS, PODS, Key
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.records import JobRecord, PodRecord
from detection_operator.cluster.reports import gone
from detection_operator.errors import NotFoundError, RefusedError
from detection_operator.names import attempt_name
from detection_operator.server.lookups import LookUps
from detection_operator.server.tokens import Bearer

RETRY_AFTER_S = 2
POD_GONE, OTHER_TRAINING = "pod_gone", "other_training"


class ReportAccess:
    """Decides which pod may report for a training."""

    def __init__(
        self, client: Client, cache: Cache, writer: StatusWriter, lookups: LookUps
    ) -> None:
        """Use the pods in `cache`; read others with `client` as far as `lookups` permits."""
        self._client, self._cache, self._writer = client, cache, writer
        self._lookups = lookups

    async def find(self, bearer: Bearer, key: Key) -> PodRecord:
        """Return the record of the token's pod, which is a live pod of the training `key`.

        Raises:
            RefusedError: 403, it is not; 404, the training is gone; 429, it asks too often; 503,
                its Job is unknown.
            ClusterError: the API did not answer.
        """
        pod = await self._live_pod(bearer)
        if not _claims(pod, key):
            raise _not_of(bearer, key)
        job = self._cache.job(pod.controller) or await self._look_up_job(pod)
        if job is None and pod.pod.deleting_since is None:
            msg = f"there is no Job {pod.pod.job_name} of pod {pod.pod.name}: it is about to end"
            raise _later(HTTPStatus.SERVICE_UNAVAILABLE, "job_gone", msg, RETRY_AFTER_S)
        # A pod that outlives its Job still saves and reports: the cache keeps its training.
        if self._cache.training_of(pod) != Ref(pod.namespace, pod.training_uid):
            raise _not_of(bearer, key)
        await self._require_training(pod, key)
        training = self._cache.training(key)
        if training is None or training.version.uid != pod.training_uid:
            raise _not_of(bearer, key)
        return pod

    async def _live_pod(self, bearer: Bearer) -> PodRecord:
        pod = self._cache.pod(bearer.pod_uid)
        if pod is None:
            return await self._look_up_pod(bearer)
        if pod.gone:
            raise _refused(bearer, POD_GONE)
        return pod

    async def _look_up_pod(self, bearer: Bearer) -> PodRecord:
        """Read a pod that the watch may not have reported yet."""
        if (reason := self._lookups.absence(bearer.pod_uid)) is not None:
            raise _refused(bearer, reason)
        self._permit(bearer.pod_uid, bearer.namespace)
        try:
            body = await self._client.get(PODS, bearer.namespace, bearer.pod_name)
        except NotFoundError:
            body = {}
        if body.get("metadata", {}).get("uid") != bearer.pod_uid:
            self._lookups.remember(bearer.pod_uid, POD_GONE)
            raise _refused(bearer, POD_GONE)
        # The cache stores only readable pods of the operator's Jobs.
        self._cache.learn(PODS, body)
        pod = self._cache.pod(bearer.pod_uid)
        if pod is None:
            self._lookups.remember(bearer.pod_uid, OTHER_TRAINING)
            raise _refused(bearer, OTHER_TRAINING)
        return pod

    async def _look_up_job(self, pod: PodRecord) -> JobRecord | None:
        """Read a Job that the watch may not have reported yet; None: none has this uid."""
        if self._lookups.absence(pod.controller.uid) is not None:
            return None
        self._permit(pod.version.uid, pod.namespace)
        try:
            job = await self._client.get(JOBS, pod.namespace, pod.pod.job_name)
        except NotFoundError:
            self._lookups.remember(pod.controller.uid, "job_gone")
            return None
        self._cache.learn(JOBS, job)
        found = self._cache.job(pod.controller)
        if found is None:
            self._lookups.remember(pod.controller.uid, "job_gone")
        return found

    async def _require_training(self, pod: PodRecord, key: Key) -> None:
        """Read a training that the watch may not have reported yet.

        Raises:
            RefusedError: 404, it is gone.
        """
        if self._cache.training(key) is not None:
            return
        if self._lookups.absence(pod.training_uid) is None:
            self._permit(pod.version.uid, pod.namespace)
            await self._writer.refresh(key)
        if self._cache.training(key) is None:
            self._lookups.remember(pod.training_uid, "training_gone")
            raise gone(key)

    def _permit(self, pod_uid: str, namespace: str) -> None:
        wait_s = self._lookups.take(pod_uid, namespace)
        if wait_s > 0:
            msg = f"the operator does not know pod {pod_uid} yet and looks up few: send it later"
            raise _later(HTTPStatus.TOO_MANY_REQUESTS, "looked_up_too_often", msg, wait_s)


def _claims(pod: PodRecord, key: Key) -> bool:
    """Return whether the pod's labels and its Job's name are those of an attempt of `key`."""
    job_name = attempt_name(key.name, pod.training_uid, pod.attempt or 0)
    return pod.training == key and pod.pod.job_name == job_name


def _refused(bearer: Bearer, reason: str) -> RefusedError:
    messages = {
        POD_GONE: f"pod {bearer.pod_name} of this token is gone",
        OTHER_TRAINING: f"pod {bearer.pod_name} is not the pod of a trainer",
    }
    return RefusedError(HTTPStatus.FORBIDDEN, reason, messages[reason])


def _not_of(bearer: Bearer, key: Key) -> RefusedError:
    msg = f"pod {bearer.pod_name} does not belong to the training {key}"
    return RefusedError(HTTPStatus.FORBIDDEN, OTHER_TRAINING, msg)


def _later(status: HTTPStatus, reason: str, message: str, after_s: float) -> RefusedError:
    return RefusedError(status, reason, message, retry_after_s=after_s)
