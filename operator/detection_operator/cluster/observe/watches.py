"""Kopf's watches: their HTTP session belongs to the operator, which sees each request.

Kopf retries silently, and after a relist it sends no DELETED for objects that vanished meanwhile.
Here a lasting failure becomes a reason not to be ready, and a relist requests a resync. Only the
resync lists objects: Kopf, which creates a task for each object, receives empty lists that only
state where a watch begins.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Self, cast

import aiohttp
from aiohttp.connector import Connection
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from detection_operator.cluster.api.client import trusts_environment
from detection_operator.cluster.api.decode import cut, is_shallow
from detection_operator.cluster.api.resources import WATCHED
from detection_operator.cluster.api.telemetry import Telemetry

logger = logging.getLogger(__name__)

PLURALS = frozenset(resource.plural for resource in WATCHED)
READ_BUFFER = 2**21
NOTHING = "metadata.name=_"
"""Selects no object: no object can have this name."""


@dataclass(slots=True)
class Stream:
    """The watch of one kind of object in one namespace (or all)."""

    listed: int = 0
    opened: int = 0
    failing_since: float | None = None
    problem: str = ""


class WatchMonitor:
    """Follows the requests with which Kopf lists and watches."""

    def __init__(
        self,
        *,
        namespaces: Iterable[str],
        on_relist: Callable[[], None],
        telemetry: Telemetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Expect a stream of each kind in each of `namespaces` (none: one for all namespaces).

        `on_relist` is called if a stream starts again, or starts after the first lists.
        """
        self._streams: dict[tuple[str, str], Stream] = {}
        self._namespaces = tuple(namespaces) or ("",)
        self._on_relist = on_relist
        self._telemetry, self._clock = telemetry, clock
        self.placed = asyncio.Event()
        """Set once every watch has started or was refused, and one namespace has all its watches.

        What is listed from now on continues in the watches; a watch that starts later requests
        another list.
        """

    def answered(self, path: str, *, watch: bool, code: int, problem: str = "") -> None:
        """Record the answer to one request of Kopf's; code 0: there was none."""
        place, _, plural = path.rpartition("/")
        if plural not in PLURALS:
            return
        stream = self._streams.setdefault((plural, place), Stream())
        if watch:
            self._telemetry.watch_answered(plural, code)
        if code != HTTPStatus.OK:
            self._failed(stream, path, problem or f"{code} {_phrase(code)}")
            self._place()
            return
        if stream.failing_since is not None:
            logger.info("%s is watched again", path)
        stream.failing_since = None
        if watch:
            stream.opened += 1
        else:
            stream.listed += 1
            if stream.opened or self.placed.is_set():
                self._on_relist()
        self._place()

    def problems(self, tolerated_s: float) -> list[str]:
        """Return what has failed for longer than `tolerated_s` seconds, or has not started.

        Anyone may read it from `/readyz`: namespaces are named only in the log.
        """
        found = [
            f"{plural} cannot be watched: {stream.problem}"
            for (plural, _), stream in self._streams.items()
            if self._fails(stream, tolerated_s)
        ]
        expected = len(WATCHED) * len(self._namespaces)
        opened = sum(stream.opened > 0 for stream in self._streams.values())
        if opened < expected:
            found.append(f"{opened} of {expected} watches have begun")
        return found

    def obstacles(self, tolerated_s: float) -> list[str]:
        """Return the problems if they affect every namespace; none while one is watched."""
        works = (
            len(streams) == len(WATCHED)
            and all(s.opened and not self._fails(s, tolerated_s) for s in streams)
            for streams in map(self._streams_of, self._namespaces)
        )
        return [] if any(works) else self.problems(tolerated_s)

    def _fails(self, stream: Stream, tolerated_s: float) -> bool:
        since = stream.failing_since
        return since is not None and self._clock() - since >= tolerated_s

    def _streams_of(self, namespace: str) -> list[Stream]:
        return [
            stream
            for (_, place), stream in self._streams.items()
            if place.partition("/namespaces/")[2] == namespace
        ]

    def _place(self) -> None:
        """Set `placed` once its condition is true."""
        if self.placed.is_set():
            return
        streams = self._streams.values()
        answered = sum(s.listed > 0 or s.failing_since is not None for s in streams)
        if answered < len(WATCHED) * len(self._namespaces):
            return
        listed = ([s.listed > 0 for s in self._streams_of(n)] for n in self._namespaces)
        if any(len(found) == len(WATCHED) and all(found) for found in listed):
            self.placed.set()

    def trace(self) -> aiohttp.TraceConfig:
        """Return the hooks with which an aiohttp session reports each request to this monitor."""
        config = aiohttp.TraceConfig()
        config.on_request_end.append(self._on_end)
        config.on_request_exception.append(self._on_exception)
        return config

    async def _on_end(
        self, _session: object, _context: object, params: aiohttp.TraceRequestEndParams
    ) -> None:
        watch = "watch" in params.url.query
        self.answered(params.url.path, watch=watch, code=params.response.status)

    async def _on_exception(
        self, _session: object, _context: object, params: aiohttp.TraceRequestExceptionParams
    ) -> None:
        problem = str(params.exception) or type(params.exception).__name__
        watch = "watch" in params.url.query
        self.answered(params.url.path, watch=watch, code=0, problem=problem)

    def _failed(self, stream: Stream, path: str, problem: str) -> None:
        if stream.failing_since is None:
            stream.failing_since = self._clock()
            logger.warning("%s cannot be watched, trying on: %s", path, problem)
        stream.problem = problem


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "unknown"


class ShallowLines:
    """The lines of a watch, without values nested deeper than Kopf can decode.

    One object with such a value would end the watch, and again after each restart.
    """

    def __init__(self, content: aiohttp.StreamReader) -> None:
        """Read from `content`."""
        self._content = content

    def __getattr__(self, name: str) -> Any:
        """Return all else as `content` has it."""
        return getattr(self._content, name)

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        """Yield whole lines, read about `size` bytes at a time."""
        begun: list[bytes] = []
        async for chunk in self._content.iter_chunked(size):
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                begun.append(tail)
                continue
            for line in b"".join([*begun, head]).split(b"\n"):
                yield (line if is_shallow(line) else cut(line)) + b"\n"
            begun = [tail]


class WatchResponse(aiohttp.ClientResponse):
    """An answer to Kopf; the lines of a watch are ones that it can decode."""

    async def start(self, connection: Connection) -> Self:
        """Read the head of the answer."""
        await super().start(connection)
        if self.status == HTTPStatus.OK and "watch" in self.url.query:
            # Kopf reads it only with `iter_chunked`.
            self.content = cast("aiohttp.StreamReader", ShallowLines(self.content))
        return self


def open_watch_session(
    configuration: Configuration, monitor: WatchMonitor
) -> aiohttp.ClientSession:
    """Return the session for Kopf's requests, with the operator's credentials and `monitor`."""
    context = RESTClientObject(configuration).ssl_context

    async def authorize(
        request: aiohttp.ClientRequest,
        send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        # Read for each request, because the service account's token rotates.
        if token := await configuration.get_api_key_with_prefix("BearerToken", "authorization"):
            request.headers["Authorization"] = token
        return await send(request)

    async def list_nothing(
        request: aiohttp.ClientRequest,
        send: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        if request.url.name in PLURALS and "watch" not in request.url.query:
            request.url = request.url.update_query(fieldSelector=NOTHING)
        return await send(request)

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=context),
        headers={"User-Agent": "detection-operator/watch"},
        middlewares=(authorize, list_nothing),
        trace_configs=[monitor.trace()],
        read_bufsize=READ_BUFFER,
        response_class=WatchResponse,
        trust_env=trusts_environment(),
    )
