"""The endpoint to which trainers post their reports: it authorizes, parses and stores them.

Answers: 200 accepted; 400-413 and 422 the request is invalid; 401 the token is invalid; 403 the pod
may not report for this training; 404 and 409 the training or attempt is gone, so the trainer must
stop; 429 too often: send the newest report later; 503 retry.

The checks are ordered by their cost: names, the sender's rate of new tokens, the token, its
namespace, the pod (from the cache, else by few reads of the API), the pod's rate, the report.
"""

import asyncio
import logging
import math
from http import HTTPStatus

from aiohttp import web
from pydantic import ValidationError

from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.api.telemetry import Telemetry
from detection_operator.cluster.observe.records import PodRecord
from detection_operator.cluster.report_queue import ReportQueue
from detection_operator.errors import ClusterError, RefusedError
from detection_operator.logs import about
from detection_operator.names import is_name, is_namespace
from detection_operator.server.rate import BURST, EVERY_S, RateLimit
from detection_operator.server.report_access import RETRY_AFTER_S, ReportAccess
from detection_operator.server.tokens import TokenVerifier
from detection_trainer.contract.report import MAX_REPORT_BYTES, Report
from detection_trainer.contract.runtime import REPORT_PATH
from detection_trainer.contract.training import explain

logger = logging.getLogger(__name__)

READ_TIMEOUT_S = 15.0
NEW_TOKEN_EVERY_S, NEW_TOKEN_BURST = 0.1, 50
"""Per network address. A node may hide many pods behind its own address: each has one in ten
minutes.
"""
NAMELESS = Key("", "")
"""Replaces the key of a request whose names are invalid."""


def new_tokens_rate(*, limits_addresses: bool) -> RateLimit:
    """Return the limit for tokens of one address that were not seen before."""
    return RateLimit(NEW_TOKEN_EVERY_S if limits_addresses else 0.0, NEW_TOKEN_BURST)


class ProgressEndpoint:
    """Handles `POST` of one report."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        access: ReportAccess,
        verifier: TokenVerifier,
        reports: ReportQueue,
        telemetry: Telemetry,
        rate: RateLimit,
        last_report_rate: RateLimit,
        new_tokens: RateLimit,
    ) -> None:
        """Trust the tokens that `verifier` does, and the pods that `access` finds.

        A pod reports at most at `rate`, except for its last report, which has a rate of its own. A
        network address may send new tokens at most at `new_tokens`.
        """
        self._access, self._verifier = access, verifier
        self._reports, self._telemetry = reports, telemetry
        self._rate, self._last_report_rate = rate, last_report_rate
        self._new_tokens, self._log_rate = new_tokens, RateLimit()

    def routes(self) -> list[web.RouteDef]:
        """Return the server's routes."""
        return [web.post(REPORT_PATH, self.handle)]

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one request; each refusal is counted by its reason and explained."""
        key = Key(request.match_info["namespace"], request.match_info["name"])
        if not (is_namespace(key.namespace) and is_name(key.name)):
            return self._refuse(NAMELESS, _bad_name(key))
        try:
            pod = await self._authorize(request, key)
            report = self._parse(pod, await _read(request))
            _check_sender(pod, report)
            written = await self._reports.take(key, pod.training_uid, report)
        except RefusedError as refusal:
            return self._refuse(key, refusal)
        except ClusterError as error:
            return self._unavailable(key, error)
        self._telemetry.report_handled("written" if written else "deferred")
        return web.json_response({"acknowledged": True, "written": written})

    async def _authorize(self, request: web.Request, key: Key) -> PodRecord:
        token = _token(request)
        if not self._verifier.knows(token):
            # Before any cryptography: a sender may try tokens, but not many.
            wait_s = self._new_tokens.take(request.remote or "")
            if wait_s > 0:
                raise _too_many_tokens(wait_s)
        bearer = await self._verifier.verify(token)
        if bearer.namespace != key.namespace:
            msg = f"the token is of namespace {bearer.namespace}, the training of {key.namespace}"
            raise RefusedError(HTTPStatus.FORBIDDEN, "other_namespace", msg)
        return await self._access.find(bearer, key)

    def _parse(self, pod: PodRecord, body: bytes) -> Report:
        """Return the report of a pod that has not sent too many.

        Raises:
            RefusedError: 429, or 422 for an invalid report.
        """
        wait_s = self._rate.take(pod.version.uid)
        if wait_s > 0 and b'"outcome"' not in body:
            # The body is not even read: a sender of many reports must not cause more cost.
            raise _too_often(wait_s)
        try:
            report = Report.model_validate_json(body)
        except ValidationError as error:
            msg = f"the report is invalid: {explain(error)}"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", msg) from error
        if wait_s > 0 and report.outcome is not None:
            wait_s = self._last_report_rate.take(pod.version.uid)
        if wait_s > 0:
            raise _too_often(wait_s)
        return report

    def _refuse(self, key: Key, refusal: RefusedError) -> web.Response:
        self._telemetry.report_handled(refusal.reason)
        # A sender of many reports must not fill the log either.
        often = refusal.retry_after_s or self._log_rate.take(refusal.reason)
        level = logging.DEBUG if often else logging.WARNING
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


def _bad_name(key: Key) -> RefusedError:
    msg = (
        "expected names of a namespace and of a DetectionTraining (RFC 1123) in the path; "
        f"received {key.namespace[:80]!r} and {key.name[:80]!r}"
    )
    return RefusedError(HTTPStatus.BAD_REQUEST, "bad_name", msg)


def _too_many_tokens(wait_s: float) -> RefusedError:
    msg = "this address has sent too many tokens that are new: send the report later"
    return RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "too_many_tokens", msg, retry_after_s=wait_s)


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        msg = "expected a header `Authorization: Bearer <token>` with the pod's projected token"
        raise RefusedError(HTTPStatus.UNAUTHORIZED, "no_token", msg)
    return token.strip()


def _check_sender(pod: PodRecord, report: Report) -> None:
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
