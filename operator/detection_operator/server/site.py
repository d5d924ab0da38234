"""One HTTP server on its own port, which no flood of connections can exhaust.

aiohttp limits the length of a request's head and body and how long a connection may wait for the
next head (`idle_s`, from the connection's first byte or its last answer: a head that arrives byte
by byte has no more time). This module accepts the connections, so that their number is limited in
total and per network address, from before the TLS handshake on. A connection takes a file
descriptor and at most 0.75 MB: 256 KB of asyncio's TLS buffer, 200 KB of headers, a report of 256
KB.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from aiohttp import web

from detection_operator.server.leftovers import Leftovers
from detection_operator.server.rate import RateLimit
from detection_operator.server.seats import Seats
from detection_trainer.contract.report import MAX_REPORT_BYTES

logger = logging.getLogger(__name__)

SHUTDOWN_S = 5.0
BACKLOG = 256
ACCEPTED_AT_ONCE = 32
"""The number of accepted connections before other tasks run."""
ACCEPT_PAUSE_S = 0.1
"""The pause after an accept that failed because there are no file descriptors."""
MAX_LINE_BYTES, MAX_FIELD_BYTES, MAX_FIELDS = 2048, 8192, 24
READ_BUFFER_BYTES = 32 * 1024
HANDSHAKE_BYTES = 256 * 1024
"""Of asyncio's buffer for TLS: a protocol whose handshake failed refers to itself."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers may use of a site."""

    connections: int = 256
    per_peer: int = 0
    """Connections of one network address, and how many it may open at once; 0: no such limit."""
    idle_s: float = 20.0
    """Seconds for the head of a request, from the connection's start or the last answer."""
    handshake_s: float = 5.0
    lingering_s: float = 2.0
    """Seconds for the rest of a body that nobody reads."""
    new_per_s: float = 10.0
    """New connections of one address per second, if `per_peer` is set."""


@dataclass(eq=False, slots=True)
class Connection:
    """A connection that was accepted."""

    peer: str
    socket: socket.socket
    task: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    is_taken: bool = False
    """asyncio owns the socket, and closes it."""
    received_bytes: int = 0

    def left_bytes(self) -> int:
        """Return how much it may leave in memory until the cyclic garbage collector runs."""
        return HANDSHAKE_BYTES if self.transport is None else self.received_bytes

    def abort(self) -> None:
        """Close it at once, in any state."""
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()
        if not self.is_taken:
            # A task that is cancelled before its first step never uses the socket.
            self.socket.close()


class _Noticed(asyncio.Protocol):
    """aiohttp's protocol, with a callback at its end, which counts what it receives."""

    def __init__(self, inner: asyncio.Protocol, lost: asyncio.Event, taken: Connection) -> None:
        self._inner, self._lost, self._taken = inner, lost, taken
        self._is_bad = False
        self.connection_made = inner.connection_made  # type: ignore[method-assign]
        self.eof_received = inner.eof_received  # type: ignore[method-assign]
        self.pause_writing = inner.pause_writing  # type: ignore[method-assign]
        self.resume_writing = inner.resume_writing  # type: ignore[method-assign]

    def data_received(self, data: bytes) -> None:
        self._taken.received_bytes += len(data)
        if self._is_bad:
            # The answer to the bad head closes the connection.
            return
        self._inner.data_received(data)
        self._is_bad = _release_errors(self._inner)

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost.set()
        self._inner.connection_lost(exc)


def _release_errors(handler: asyncio.Protocol) -> bool:
    """Return whether a head was bad, and let go of the data that its error refers to.

    aiohttp queues the error, whose traceback refers to the frame with the error, the handler and
    the data: a bad head of 1 MB would take 1 MB until the cyclic collector comes.
    """
    queued = getattr(handler, "_messages", ())
    errors = [error for message, _ in queued if (error := getattr(message, "exc", None))]
    for error in errors:
        error.__traceback__ = None
    return bool(errors)


@dataclass(slots=True)
class Site:
    """A port that is served; `close` lets requests end first."""

    runner: web.AppRunner
    listener: socket.socket
    limits: Limits
    tls: ssl.SSLContext | None
    seats: Seats[Connection]
    arrivals: RateLimit
    leftovers: Leftovers = field(default_factory=Leftovers)
    refused: int = 0
    """Connections that were refused for lack of room."""
    _accepting: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def port(self) -> int:
        """The port; if 0 was requested, the system chose it."""
        return int(self.listener.getsockname()[1])

    def start(self) -> None:
        """Begin to accept connections."""
        self._accepting = asyncio.create_task(self._accept(), name=f"port {self.port}")

    async def close(self) -> None:
        """Stop accepting, let requests end, close."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
        self.listener.close()
        await self.runner.cleanup()
        for connection in self.seats.connections():
            connection.abort()
        tasks = [c.task for c in self.seats.connections() if c.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # An accept that succeeds at once does not yield to other tasks.
            for _ in range(ACCEPTED_AT_ONCE):
                try:
                    accepted, address = await loop.sock_accept(self.listener)
                except OSError as error:
                    logger.warning("no connection was accepted: %s", error)
                    await asyncio.sleep(ACCEPT_PAUSE_S)
                else:
                    self._take(accepted, str(address[0]))
            await asyncio.sleep(0)

    def _take(self, accepted: socket.socket, peer: str) -> None:
        connection = Connection(peer, accepted)
        hurried = self.limits.per_peer > 0 and self.arrivals.take(peer) > 0
        admission = None if hurried else self.seats.admit(peer, connection)
        if admission is None or not admission.admitted:
            self.refused += 1
            accepted.close()
            return
        if admission.evicted is not None:
            self.refused += 1
            admission.evicted.abort()
        connection.task = asyncio.create_task(self._serve(connection))

    async def _serve(self, connection: Connection) -> None:
        """Serve one connection until it is closed; a failed handshake is not logged."""
        lost = asyncio.Event()
        server = self.runner.server
        try:
            with contextlib.suppress(OSError, ConnectionError, TimeoutError):
                if server is None:
                    connection.socket.close()
                    return
                connection.is_taken = True
                transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: _Noticed(cast("asyncio.Protocol", server()), lost, connection),
                    connection.socket,
                    ssl=self.tls,
                    ssl_handshake_timeout=self.limits.handshake_s if self.tls else None,
                    ssl_shutdown_timeout=self.limits.lingering_s if self.tls else None,
                )
                connection.transport = transport
                await lost.wait()
        finally:
            self.seats.release(connection.peer, connection)
            self.leftovers.add(connection.left_bytes())


async def open_site(
    routes: Iterable[web.RouteDef],
    host: str,
    port: int,
    *,
    limits: Limits | None = None,
    tls: ssl.SSLContext | None = None,
) -> Site:
    """Serve `routes`.

    Raises:
        OSError: the port is taken.
    """
    limits = limits or Limits()
    application = web.Application(client_max_size=MAX_REPORT_BYTES)
    application.add_routes(routes)
    seats: Seats[Connection] = Seats(limits.connections, limits.per_peer)

    async def close_when_crowded(_: web.Request, answer: web.StreamResponse) -> None:
        if seats.is_crowded:
            answer.force_close()
            # aiohttp has already written this header.
            answer.headers["Connection"] = "close"

    application.on_response_prepare.append(close_when_crowded)
    runner = web.AppRunner(
        application,
        access_log=None,
        logger=_quiet_logger(),
        handle_signals=False,
        shutdown_timeout=SHUTDOWN_S,
        keepalive_timeout=limits.idle_s,
        lingering_time=limits.lingering_s,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        max_headers=MAX_FIELDS,
        read_bufsize=READ_BUFFER_BYTES,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        listener = _listen(host, port)
    except OSError:
        await runner.cleanup()
        raise
    arrivals = RateLimit(every_s=1 / limits.new_per_s, burst=max(limits.per_peer * 2, 1))
    site = Site(runner, listener, limits, tls, seats, arrivals)
    site.start()
    return site


def _quiet_logger() -> logging.Logger:
    """Return aiohttp's logger, limited to a few lines for a flood of bad requests."""
    quiet = logging.getLogger(f"{__name__}.http")
    rate = RateLimit(every_s=10.0, burst=5)
    quiet.filters[:] = [lambda record: rate.take(record.levelname) == 0]
    return quiet


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    both = family == socket.AF_INET6 and host == "::" and socket.has_dualstack_ipv6()
    listener = socket.create_server(
        (host, port), family=family, backlog=BACKLOG, dualstack_ipv6=both
    )
    listener.setblocking(False)  # noqa: FBT003 - the standard library's signature
    return listener
