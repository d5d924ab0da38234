"""Gathers the input of one decision: from the cache, and if absence decides, from the API.

Each watch may lag behind at its own pace. An attempt's Job or pods that are not known yet must not
be taken for deleted: otherwise the next attempt would run beside them. So the API server is asked
before absence counts as an attempt's end.
"""

import asyncio
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

from detection_operator import names
from detection_operator.api.v1alpha1 import AttemptStatus
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import (
    CLAIMS,
    CONFIG_MAPS,
    JOBS,
    PODS,
    Key,
    Object,
)
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.configs import read_config
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.records import JobRecord, PodRecord, TrainingRecord
from detection_operator.cluster.observe.warnings import Overdue, WarningEvents, claim_id
from detection_operator.core.case import end_is_recorded, has_ended
from detection_operator.core.state import (
    Job,
    Observed,
    Pod,
    PodPhase,
    Source,
    Training,
    Waiting,
)
from detection_operator.errors import ForbiddenError, NotFoundError, UnreadableError

POD_EXPECTED_AFTER = timedelta(seconds=3)
"""The Job controller creates a pod within a second; if it does not, Events of the Job state why."""
START_EXPECTED_AFTER = timedelta(seconds=10)
"""A node starts a container within seconds; if it does not, Events of the pod state why."""
CONFIG_MAP_RECHECK_S = 10.0
UNPROVEN_RECHECK_S = 2.0
SMALL_BYTES = 16384
"""This much text is parsed in a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What was observed, and what to do once the decision has been written."""

    observed: Observed
    ended_orphans: tuple[str, ...] = ()
    """Pods that were gone when they were observed; the state of pods that go later is still needed.
    """
    recheck_after_s: float | None = None
    """Seconds until the next decision, if a ConfigMap cannot be used or a pod must end: no watch
    reports either.
    """


class Gatherer:
    """Gathers what the reconciler decides on."""

    def __init__(self, client: Client, cache: Cache, warnings: WarningEvents) -> None:
        """Read from `cache` first; let `warnings` find out why a pod does not start."""
        self._client, self._cache, self._warnings = client, cache, warnings
        self._parser = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parser")

    async def gather(self, key: Key) -> Gathered | None:
        """Return what is known of a training; None if it is gone.

        Raises:
            ClusterError: the API did not answer a read that was needed.
        """
        record = self._cache.training(key)
        if record is None:
            self._warnings.follow(key, ())
            return None
        training = await self._parsed(record)
        unproven = await self._confirm_absences(training)
        self._require_readable(training)
        orphans = self._orphans(training)
        observed = self._observed(record, training, orphans)
        self._warnings.follow(key, _overdue(observed.jobs))
        return Gathered(
            observed=replace(
                observed,
                jobs=tuple(map(self._explained, observed.jobs)),
                orphans=(*observed.orphans, *unproven),
            ),
            ended_orphans=tuple(orphan.version.uid for orphan in orphans if orphan.gone),
            recheck_after_s=UNPROVEN_RECHECK_S if unproven else _recheck_after_s(record, training),
        )

    def leave(self, key: Key) -> None:
        """Stop the search for Events of a training that is not planned at the moment."""
        self._warnings.follow(key, ())

    async def _parsed(self, record: TrainingRecord) -> Training:
        """Return the training, with the pipeline.config of its ConfigMap while that may change.

        A problem of the ConfigMap is a problem of the spec: it is reported, and read again later.
        """
        wanted = record.config_map
        if wanted is None:
            return await self._parse(record)
        try:
            found = await self._client.get(CONFIG_MAPS, record.key.namespace, wanted.name)
        except NotFoundError:
            problem = f"there is no ConfigMap {wanted.name!r} in namespace {record.key.namespace!r}"
        except ForbiddenError as error:
            problem = f"the operator may not read ConfigMap {wanted.name!r} ({error})"
        else:
            data = found.get("data") or {}
            if text := data.get(wanted.key):
                return await self._parse(record, str(text))
            keys = ", ".join(sorted(data)) or "none"
            problem = f"ConfigMap {wanted.name!r} has no key {wanted.key!r}; it has {keys}"
        invalid = f"pipelineConfig.configMapKeyRef: {problem}: make it, or correct the reference."
        return replace(record.parse(), spec=None, invalid=invalid, pipeline_config=None)

    async def _parse(self, record: TrainingRecord, found: str | None = None) -> Training:
        """Parse a small training here, and others in a thread: the event loop must not block."""
        length = max(record.length, len(found or ""))
        if length <= SMALL_BYTES or (found is not None and found in read_config):
            return record.parse(found)
        return await asyncio.get_running_loop().run_in_executor(self._parser, record.parse, found)

    def known(self, training: Training) -> Observed | None:
        """Return what the cache knows of `training`; None if absence decides.

        It does not call the API, so the reason why a pod is delayed is missing.
        """
        record = self._cache.training(Key(training.identity.namespace, training.identity.name))
        if record is None or not self._is_certain(training):
            return None
        return self._observed(record, training, self._orphans(training))

    def _observed(
        self, record: TrainingRecord, training: Training, orphans: list[PodRecord]
    ) -> Observed:
        jobs = self._cache.jobs(_ref(training))
        return Observed(
            training=training,
            jobs=tuple(
                replace(job.job, pods=tuple(pod.pod for pod in self._pods_of(job))) for job in jobs
            ),
            orphans=tuple(orphan.pod for orphan in orphans),
            source=self._source(record),
            folder_owner=self._folder_owner(record),
        )

    def _job_of(self, training: Training, attempt: AttemptStatus) -> JobRecord | None:
        jobs = self._cache.jobs(_ref(training))
        return next((record for record in jobs if record.job.name == attempt.job_name), None)

    def _is_certain(self, training: Training) -> bool:
        """Return whether nothing is missing whose absence would mean that the attempt has ended."""
        attempt = training.status.current_attempt
        if attempt is None or end_is_recorded(attempt):
            return True
        record = self._job_of(training, attempt)
        return record is not None and not self._may_lack_pods(record, attempt)

    def _may_lack_pods(self, record: JobRecord, attempt: AttemptStatus) -> bool:
        """Return whether a Job that creates no more pods has had some that are not known."""
        job = record.job
        taken_back = job.suspended and attempt.started_at is not None
        over = job.failed or job.complete or taken_back
        return over and len(self._pods_of(record)) < job.workers

    async def _confirm_absences(self, training: Training) -> list[Pod]:
        """Read what the attempt lacks; return the pods that run, of a Job that nobody has seen.

        An operator that starts after the Job was deleted, and before its uid was recorded, has no
        proof whose these pods are. They may train, so the next attempt waits for their end, but
        their reports do not count. If they are forged, the garbage collector deletes them: the Job
        that they name does not exist.
        """
        attempt = training.status.current_attempt
        if attempt is None or self._is_certain(training):
            return []
        namespace, uid = training.identity.namespace, training.identity.uid
        if self._job_of(training, attempt) is None:
            await self._look_up_job(namespace, attempt.job_name)
        if self._is_certain(training):
            return []
        # Pods whose Job is gone too: they outlive it, and may be as new as its end.
        labels = f"{names.LABEL_TRAINING_UID}={uid},{names.LABEL_ATTEMPT}={attempt.number}"
        listed = [pod async for pod in self._client.items(PODS, namespace, labels=labels)]
        for body in listed:
            self._cache.apply(PODS, body)
        if attempt.job_uid is not None or self._job_of(training, attempt) is not None:
            return []
        return [pod for pod in map(self._unproven, listed) if pod is not None]

    def _unproven(self, body: Object) -> Pod | None:
        """Return a pod that runs and whose Job is unknown, without its own reports."""
        record = self._cache.pod(body["metadata"]["uid"])
        if record is None or record.gone or has_ended(record.pod):
            return None
        if self._cache.training_of(record) is not None:
            return None
        pod = record.pod
        return Pod(
            name=pod.name,
            uid=pod.uid,
            job_name=pod.job_name,
            phase=pod.phase,
            index=pod.index,
            node=pod.node,
            deleting_since=pod.deleting_since,
            forced=pod.forced,
        )

    def _require_readable(self, training: Training) -> None:
        """Stop the decision if an object of the training exists and cannot be read.

        Raises:
            UnreadableError: there is one; an attempt that it belongs to may be running.
        """
        who = training.identity
        held = self._cache.quarantine.of_training(who.namespace, who.uid)
        if held is not None:
            msg = f"{held}. Nothing is decided until it changes or is deleted."
            raise UnreadableError(msg)

    async def _look_up_job(self, namespace: str, name: str) -> None:
        try:
            body = await self._client.get(JOBS, namespace, name)
        except NotFoundError:
            return
        self._cache.apply(JOBS, body)

    def _explained(self, job: Job) -> Job:
        """Return the Job with what Events report about it and its pods."""
        job = replace(job, pods=tuple(self._pod(job, pod) for pod in job.pods))
        warning = self._warnings.of(job.uid) if _lacks_pod(job) else None
        return job if warning is None else replace(job, rejected=warning.message)

    def _pod(self, job: Job, pod: Pod) -> Pod:
        """Return `pod` with what delays it: a claim, a Secret or a volume that is missing."""
        if _lacks_node(pod):
            return self._with_claims(pod)
        warning = self._warnings.of(pod.uid) if _is_held_up(pod) else None
        if warning is None:
            return pod
        waiting = Waiting(warning.reason, warning.message, since=job.created_at)
        return replace(pod, waiting=waiting)

    def _with_claims(self, pod: Pod) -> Pod:
        """Return `pod` with what Events report about the claims that keep it from a node."""
        claims = ((name, self._warnings.of(claim_id(pod.uid, name))) for name in pod.claims)
        messages = [
            f"PersistentVolumeClaim {name}: {warning.reason}: {warning.message}"
            for name, warning in claims
            if warning is not None
        ]
        if not messages:
            return pod
        known = pod.unschedulable or Waiting("Unschedulable", "")
        message = " ".join(filter(None, (known.message, *messages)))
        return replace(pod, unschedulable=replace(known, message=message))

    def _pods_of(self, record: JobRecord) -> list[PodRecord]:
        """Return the newest pod of each worker.

        A Job has other pods only if its queue preempted it before they had started.
        """
        pods = self._cache.pods_of(record.ref)
        oldest_first = sorted(pods, key=lambda pod: (not pod.gone, pod.created_at))
        return list({pod.pod.index: pod for pod in oldest_first}.values())

    def _orphans(self, training: Training) -> list[PodRecord]:
        """Return the pods that outlive their Job, which was proven to be the training's."""
        pods = self._cache.pods(_ref(training))
        return [pod for pod in pods if self._cache.job(pod.controller) is None]

    def _source(self, record: TrainingRecord) -> Source | None:
        if record.source is None:
            return None
        source = self._cache.training(record.source)
        if source is None:
            return Source(record.source.name, found=False)
        try:
            parsed = source.parse()
        except UnreadableError:
            return Source(record.source.name, found=True)
        return Source(record.source.name, found=True, spec=parsed.spec, status=parsed.status)

    def _folder_owner(self, record: TrainingRecord) -> str | None:
        """Return the oldest other training with the same folder, if it is older than this one.

        It is in the same namespace: no training learns the name of another tenant's.
        """
        if not record.folder:
            return None
        oldest = next(iter(self._cache.sharing(record.folder)), record)
        return None if oldest.key == record.key else str(oldest.key)


def _ref(training: Training) -> Ref:
    return Ref(training.identity.namespace, training.identity.uid)


def _recheck_after_s(record: TrainingRecord, training: Training) -> float | None:
    unread = record.config_map is not None and training.spec is None
    return CONFIG_MAP_RECHECK_S if unread else None


def _overdue(jobs: Iterable[Job]) -> Iterator[Overdue]:
    """Yield what should have its pod, or its container, a moment after the Job was created."""
    for job in jobs:
        if _lacks_pod(job):
            yield Overdue(JOBS, job.uid, job.created_at + POD_EXPECTED_AFTER)
        due = job.created_at + START_EXPECTED_AFTER
        for pod in filter(_is_held_up, job.pods):
            yield Overdue(PODS, pod.uid, due)
        for pod in filter(_lacks_node, job.pods):
            for name in pod.claims:
                yield Overdue(CLAIMS, claim_id(pod.uid, name), due, name)


def _lacks_pod(job: Job) -> bool:
    ended = job.complete or job.failed
    lacks = len(job.pods) < job.workers
    return lacks and not (ended or job.suspended or job.deleting)


def _lacks_node(pod: Pod) -> bool:
    """Return whether the pod waits for a node, and one of its claims may be the reason."""
    waits = pod.phase is PodPhase.PENDING and not pod.node and not pod.gone
    return waits and bool(pod.claims)


def _is_held_up(pod: Pod) -> bool:
    """Return whether the pod has a node, and its status does not explain why it does not start."""
    explained = pod.waiting or pod.unschedulable or pod.running_since or pod.termination
    return pod.phase is PodPhase.PENDING and bool(pod.node) and not explained
