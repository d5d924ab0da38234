"""The endpoint that trainers post their reports to: who is it, what do they say, write it down.

Answers: 200 taken; 400-413 and 422 say what is wrong with the request; 401 who are you; 403 not
yours to say; 404 and 409 there is nobody to report to any more: stop; 429 too often: come again
later, with the newest; 503 come again.
"""

import asyncio
import logging
import math
from http import HTTPStatus

from aiohttp import web
from pydantic import ValidationError

from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import JOBS, PODS, Key
from detection_operator.cluster.api.telemetry import Telemetry
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.records import PodRecord, pod_record
from detection_operator.cluster.reports import ReportWriter, gone
from detection_operator.errors import ClusterError, NotFoundError, RefusedError
from detection_operator.logs import about
from detection_operator.names import attempt_name
from detection_operator.server.rate import BURST, EVERY_S, RateLimit
from detection_operator.server.tokens import Bearer, TokenVerifier
from detection_trainer.contract.report import MAX_REPORT_BYTES, Report
from detection_trainer.contract.runtime import REPORT_PATH
from detection_trainer.contract.training import explain

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 15.0
RETRY_AFTER_S = 2


class ProgressEndpoint:
    """Handles `POST` of one report."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        client: Client,
        cache: Cache,
        verifier: TokenVerifier,
        writer: StatusWriter,
        reports: ReportWriter,
        telemetry: Telemetry,
        rate: RateLimit,
        last_words_rate: RateLimit,
    ) -> None:
        """Trust the tokens that `verifier` does, and pods that `cache` or the API knows.

        A pod reports at most at `rate`, but for its last words, which have one of their own.
        """
        self._client, self._cache, self._verifier = client, cache, verifier
        self._writer, self._reports, self._telemetry = writer, reports, telemetry
        self._rate, self._last_words_rate = rate, last_words_rate

    def routes(self) -> list[web.RouteDef]:
        """Return what the server is to serve."""
        return [web.post(REPORT_PATH, self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; each refusal is counted by its reason and explained."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        try:
            pod = await self._authorize(request, key)
            report = self._parse(pod, await _read(request))
            _check_speaker(pod, report)
            written = await self._reports.take(key, pod.training_uid, report)
        except RefusedError as refusal:
            return self._refuse(key, refusal)
        except ClusterError as error:
            return self._unavailable(key, error)
        self._telemetry.report_handled("written" if written else "deferred")
        return web.json_response({"acknowledged": True, "written": written})

    async def _authorize(self, request: web.Request, key: Key) -> PodRecord:
        bearer = await self._verifier.verify(_token(request))
        if bearer.namespace != key.namespace:
            msg = f"the token is of namespace {bearer.namespace}, the training of {key.namespace}"
            raise RefusedError(HTTPStatus.FORBIDDEN, "other_namespace", msg)
        if self._cache.training(key) is None:
            await self._writer.refresh(key)
        if self._cache.training(key) is None:
            raise gone(key)
        record = await self._live_pod(bearer)
        if (
            record is None
            or not self._belongs(record, key)
            or not await self._is_controlled(record)
        ):
            msg = f"pod {bearer.pod_name} is none of the training {key}"
            raise RefusedError(HTTPStatus.FORBIDDEN, "other_training", msg)
        return record

    async def _live_pod(self, bearer: Bearer) -> PodRecord | None:
        """Return the record of the token's pod; None where it is no trainer's.

        Raises:
            RefusedError: the pod is gone, whatever the token's expiry says.
        """
        record = self._cache.pod(bearer.pod_uid)
        if record is not None and not record.gone:
            return record
        gone = RefusedError(
            HTTPStatus.FORBIDDEN, "pod_gone", f"pod {bearer.pod_name} of this token is gone"
        )
        if record is not None:
            raise gone
        # The watch may lag behind a pod that has just been made.
        try:
            body = await self._client.get(PODS, bearer.namespace, bearer.pod_name)
        except NotFoundError:
            raise gone from None
        if body["metadata"]["uid"] != bearer.pod_uid:
            raise gone
        self._cache.apply(PODS, body)
        return pod_record(body)

    def _belongs(self, pod: PodRecord, key: Key) -> bool:
        """Whether the pod says that it is the training's: by its labels and its Job's name."""
        training = self._cache.training(key)
        if training is None or pod.training != key or pod.training_uid != training.version.uid:
            return False
        job_name = attempt_name(key.name, pod.training_uid, pod.attempt or 0)
        return pod.pod.job_name == job_name

    async def _is_controlled(self, pod: PodRecord) -> bool:
        """Whether the pod's Job is the training's, which a pod alone could only claim.

        Raises:
            RefusedError: 503, there is no such Job. One that is deleted in the background goes a
                moment before its pods are told to: they still save, and say so.
        """
        if self._cache.job(pod.job_uid) is None:
            await self._look_up_job(pod)
        job = self._cache.job(pod.job_uid)
        if job is None and pod.pod.deleting_since is None:
            msg = f"there is no Job {pod.pod.job_name} of pod {pod.pod.name}: it is about to end"
            unavailable = HTTPStatus.SERVICE_UNAVAILABLE
            raise RefusedError(unavailable, "job_gone", msg, retry_after_s=RETRY_AFTER_S)
        return job is None or job.training_uid == pod.training_uid

    async def _look_up_job(self, pod: PodRecord) -> None:
        try:
            job = await self._client.get(JOBS, pod.namespace, pod.pod.job_name)
        except NotFoundError:
            return
        self._cache.apply(JOBS, job)

    def _parse(self, pod: PodRecord, body: bytes) -> Report:
        """Return the report of a pod that has not sent too many.

        Raises:
            RefusedError: 429, or 422 where it does not hold.
        """
        wait_s = self._rate.take(pod.version.uid)
        if wait_s > 0 and b'"outcome"' not in body:
            # Not even read: what it costs must not depend on who is noisy.
            raise _too_often(wait_s)
        try:
            report = Report.model_validate_json(body)
        except ValidationError as error:
            msg = f"the report does not hold: {explain(error)}"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", msg) from error
        if wait_s > 0 and report.outcome is not None:
            wait_s = self._last_words_rate.take(pod.version.uid)
        if wait_s > 0:
            raise _too_often(wait_s)
        return report

    def _refuse(self, key: Key, refusal: RefusedError) -> web.Response:
        self._telemetry.report_handled(refusal.reason)
        # Who sends too much is not to fill the log too.
        level = logging.DEBUG if refusal.retry_after_s else logging.WARNING
        logger.log(level, "report refused (%s): %s", refusal.reason, refusal, extra=about(key))
        answer = _answer(refusal.status, refusal.reason, str(refusal))
        if refusal.retry_after_s is not None:
            answer.headers["Retry-After"] = str(math.ceil(refusal.retry_after_s))
        return answer

    def _unavailable(self, key: Key, error: ClusterError) -> web.Response:
        self._telemetry.report_handled("unavailable")
        logger.warning("report not written: %s", error, extra=about(key))
        answer = _answer(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", str(error))
        answer.headers["Retry-After"] = str(RETRY_AFTER_S)
        return answer


def _answer(status: HTTPStatus, reason: str, message: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    body = {"acknowledged": False, "reason": reason, "message": message}
    return web.json_response(body, status=status, headers=headers)


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        msg = "expected a header `Authorization: Bearer <token>` with the pod's projected token"
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "no_token", msg)
    return token.strip()


def _check_speaker(pod: PodRecord, report: Report) -> None:
    if pod.pod.index > 0:
        msg = f"this pod is worker {pod.pod.index}: the chief, worker 0, reports for all"
        raise RefusedError(HTTPStatus.FORBIDDEN, "not_the_chief", msg)
    if report.attempt != pod.attempt:
        msg = f"this pod is of attempt {pod.attempt}, the report of {report.attempt}"
        raise RefusedError(HTTPStatus.FORBIDDEN, "other_attempt", msg)


def _too_often(wait_s: float) -> RefusedError:
    msg = (
        f"expected at most one report each {EVERY_S:.0f} s after the first {BURST}; received more: "
        "send the newest after the time in Retry-After"
    )
    too_many = HTTPStatus.TOO_MANY_REQUESTS
    return RefusedError(too_many, "too_often", msg, retry_after_s=wait_s)


async def _read(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        msg = f"a report has at most {MAX_REPORT_BYTES} bytes"
        raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large", msg) from error
    except TimeoutError as error:
        msg = f"the report did not arrive within {READ_TIMEOUT_S:.0f} s"
        raise RefusedError(HTTPStatus.REQUEST_TIMEOUT, "too_slow", msg) from error
