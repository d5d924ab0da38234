"""Access to `/metrics`: bearers of a token that the cluster's RBAC permits to `get` that URL.

As in controller-runtime: a TokenReview identifies the bearer, a SubjectAccessReview checks the
permission. Both are requested seldom: results are kept for a while, and the number of reviews is
limited.
"""

import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from detection_operator.cluster.api.client import Client
from detection_operator.errors import ClusterError
from detection_operator.server.expiring import Expiring
from detection_operator.server.rate import RateLimit

logger = logging.getLogger(__name__)

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"  # noqa: S105 - a path
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ALLOWED_S, DENIED_S = 60.0, 10.0
"""Seconds that a result is kept."""
REVIEW_EVERY_S, REVIEW_BURST = 0.5, 10
MAX_REMEMBERED = 1000
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MetricsAccess:
    """Asks the cluster who may read."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        """Send the reviews with `client`."""
        self._client, self._clock = client, clock
        self._rate = RateLimit(REVIEW_EVERY_S, REVIEW_BURST, clock)
        self._verdicts: Expiring[bytes, HTTPStatus] = Expiring(MAX_REMEMBERED, clock)

    def guard(self, handler: Handler) -> Handler:
        """Return `handler` restricted to readers that may `get` the requested path."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            status = await self._judge(request)
            return await handler(request) if status == HTTPStatus.OK else _refusal(status)

        return guarded

    async def _judge(self, request: web.Request) -> HTTPStatus:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or not token.isascii():
            return HTTPStatus.UNAUTHORIZED
        digest = hashlib.sha256(f"{request.path} {token}".encode()).digest()
        if (known := self._verdicts.get(digest)) is not None:
            return known
        if self._rate.take("reviews") > 0:
            return HTTPStatus.TOO_MANY_REQUESTS
        try:
            verdict = await self._review(token, request.path)
        except ClusterError as error:
            logger.warning("nobody can be let read %s: %s", request.path, error)
            return HTTPStatus.SERVICE_UNAVAILABLE
        kept_s = ALLOWED_S if verdict == HTTPStatus.OK else DENIED_S
        self._verdicts.put(digest, verdict, self._clock() + kept_s)
        return verdict

    async def _review(self, token: str, path: str) -> HTTPStatus:
        review = {"spec": {"token": token}}
        status = (await self._client.request("create", TOKEN_REVIEWS, body=review))["status"]
        if not status.get("authenticated"):
            return HTTPStatus.UNAUTHORIZED
        user = status["user"]
        spec = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups", []),
            "extra": user.get("extra", {}),
            "nonResourceAttributes": {"path": path, "verb": "get"},
        }
        answer = await self._client.request("create", ACCESS_REVIEWS, body={"spec": spec})
        return HTTPStatus.OK if answer["status"].get("allowed") else HTTPStatus.FORBIDDEN


def _refusal(status: HTTPStatus) -> web.Response:
    texts = {
        HTTPStatus.UNAUTHORIZED: "expected `Authorization: Bearer <token>` with a token of this "
        "cluster, as of a service account",
        HTTPStatus.FORBIDDEN: "this user may not get the path: bind the chart's ClusterRole "
        "…-metrics-reader to it",
        HTTPStatus.TOO_MANY_REQUESTS: "too many new tokens: try again later",
        HTTPStatus.SERVICE_UNAVAILABLE: "the token cannot be reviewed; the operator's log has the "
        "reason. It needs the ClusterRole system:auth-delegator, or metrics.authentication=false",
    }
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return web.Response(status=status, text=texts[status] + "\n", headers=headers)
