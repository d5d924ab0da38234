"""A proxy before a real API server; it can be made to fail in the ways that API servers do."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
import yaml
from aiohttp import web

from sandbox.site.kube import NO_TIMEOUT, AsyncKube, Object

Refuse = Callable[[str, bool], int]
CUT = -1
GONE: Object = {
    "kind": "Status",
    "code": 410,
    "reason": "Expired",
    "message": "too old resource version",
}
"""The last event of a watch whose version the API server no longer has."""
BROKEN: Object = {
    "kind": "Status",
    "code": 500,
    "reason": "InternalError",
    "message": "etcd is unavailable",
}
"""The last event of a watch that an error of the API server ends."""
START_S = 60.0


class ApiProxy:
    """Runs in its own thread; reached without TLS or credentials through `kubeconfig`."""

    def __init__(self, upstream: Path | None, folder: Path) -> None:
        """Forward to the API server of `upstream`; write a kubeconfig into `folder`."""
        self.kubeconfig = folder / "proxied-kubeconfig"
        self.seen: Counter[tuple[str, bool]] = Counter()
        self.forbidden = ""
        """A namespace in which every request is answered with 403."""
        self.delay_s = 0.0
        """Seconds by which each answer is delayed."""
        self._upstream = upstream
        self._refuse: Refuse = lambda _plural, _watch: 0
        self._watches: dict[asyncio.Queue[Object], str] = {}
        self._loop: asyncio.AbstractEventLoop
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="api-proxy", daemon=True
        )

    def __enter__(self) -> Self:
        """Start the proxy.

        Raises:
            TimeoutError: it did not start in time.
        """
        self._thread.start()
        if not self._ready.wait(START_S):
            raise TimeoutError(f"the proxy did not start in {START_S:.0f} s")
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the proxy."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(20)

    def refuse(self, how: Refuse) -> None:
        """Answer with the status `how(plural, is_watch)`; 0: forward, CUT: close the connection."""
        self._refuse = how

    def interrupt_watches(self, error: Object | None = None, plural: str = "") -> None:
        """End the running watches (only of `plural`, if given), after an ERROR event if given."""

        def interrupt() -> None:
            for queue, kind in self._watches.items():
                if plural in {"", kind}:
                    queue.put_nowait(error or {})

        self._loop.call_soon_threadsafe(interrupt)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with AsyncKube.open(self._upstream, connections=0) as self._server:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._write_kubeconfig(runner.addresses[0][1])
            self._ready.set()
            await self._over.wait()
            for queue in self._watches:
                queue.put_nowait({})
            await runner.cleanup()
        await asyncio.sleep(0.25)

    def _write_kubeconfig(self, port: int) -> None:
        document = {
            "current-context": "proxied",
            "contexts": [{"name": "proxied", "context": {"cluster": "proxied", "user": "nobody"}}],
            "clusters": [
                {"name": "proxied", "cluster": {"server": f"http://127.0.0.1:{port}"}},
            ],
            "users": [{"name": "nobody", "user": {"token": "unused"}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        plural, watch = request.path.rsplit("/", 1)[-1], "watch" in request.query
        self.seen[plural, watch] += 1
        await asyncio.sleep(self.delay_s)
        refused = self._refuse(plural, watch)
        if self.forbidden and f"/namespaces/{self.forbidden}/" in request.path:
            refused = HTTPStatus.FORBIDDEN
        if refused == CUT and request.transport is not None:
            request.transport.abort()
        if refused == CUT:
            return web.Response(status=503)
        if refused:
            status = {"kind": "Status", "code": refused, "message": "refused by the proxy"}
            return web.json_response(status, status=refused)
        headers = {
            name: request.headers[name]
            for name in ("Accept", "Content-Type", "User-Agent")
            if name in request.headers
        }
        # Bodies pass unchanged; without this, long lists would be compressed.
        headers["Accept-Encoding"] = "identity"
        body = await request.read() or None
        try:
            return await self._ask(request, headers, body)
        except aiohttp.ClientError as error:
            status = {"kind": "Status", "code": 503, "message": f"no API server: {error}"}
            return web.json_response(status, status=503)

    async def _ask(
        self, request: web.Request, headers: dict[str, str], body: bytes | None
    ) -> web.StreamResponse:
        plural, watch = request.path.rsplit("/", 1)[-1], "watch" in request.query
        async with await self._server.ask(
            request.method, request.path_qs, headers, data=body, timeout=NO_TIMEOUT
        ) as answer:
            if watch and answer.status == HTTPStatus.OK:
                return await self._stream(request, answer, plural)
            copied = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            return web.Response(status=answer.status, body=await answer.read(), headers=copied)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, plural: str
    ) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "application/json"})
        await stream.prepare(request)
        queue: asyncio.Queue[Object] = asyncio.Queue()
        self._watches[queue] = plural
        interrupted = asyncio.create_task(queue.get())
        line = asyncio.create_task(answer.content.readline())
        try:
            while True:
                await asyncio.wait([line, interrupted], return_when=asyncio.FIRST_COMPLETED)
                if interrupted.done():
                    if error := interrupted.result():
                        event = {"type": "ERROR", "object": error}
                        await stream.write(json.dumps(event).encode() + b"\n")
                    return stream
                if not line.result():
                    return stream
                await stream.write(line.result())
                line = asyncio.create_task(answer.content.readline())
        except ConnectionError:
            return stream
        finally:
            for task in (line, interrupted):
                task.cancel()
            del self._watches[queue]
