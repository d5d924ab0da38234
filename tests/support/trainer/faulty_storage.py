"""A proxy before an S3 server that fails in the ways that storages do."""

import asyncio
import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL

from detection_trainer.storage import Folder, open_folder
from sandbox.site.object_store import write_keys

Fault = int | str
"""A status to answer with; `cut`: half of the body is taken, then the connection ends; `cut
answer`: that happens to the answer; `silent`: none comes; `expired`: AWS on an old token;
`unconditional`: a failed condition is ignored."""
Choose = Callable[[web.Request], Fault | None]


@dataclass
class FaultyStorage:
    """Forwards to the server what `choose` does not spoil; remembers all requests."""

    port: int
    keys: Path
    """A folder that takes the keys of the client."""
    choose: Choose = lambda _: None
    seen: list[str] = field(default_factory=list)

    def folder(self, uri: str = "s3://runs/trees", **keys: str) -> Folder:
        """Open a folder through the proxy, some keys other than they should be."""
        write_keys(self.keys, f"http://127.0.0.1:{self.own_port}", **keys)
        return open_folder(uri, {"s3://": self.keys})

    def fail(self, fault: Fault, method: str, part: str, times: int = 10**6) -> None:
        """Spoil the next `times` requests of this kind with `part` in their path and query."""
        left = [times]

        def choose(request: web.Request) -> Fault | None:
            if request.method != method or part not in request.path_qs or not left[0]:
                return None
            left[0] -= 1
            return fault

        self.choose = choose

    def __enter__(self) -> Self:
        """Start to serve in a thread."""
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(60), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(60)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with aiohttp.ClientSession(auto_decompress=False) as self._session:
            application = web.Application(client_max_size=1 << 30)
            application.router.add_route("*", "/{path:.*}", self._forward)
            runner = web.AppRunner(application, shutdown_timeout=1, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.own_port = runner.addresses[0][1]
            self._ready.set()
            await self._over.wait()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path_qs}")
        fault = self.choose(request)
        if isinstance(fault, int) or fault == "expired":
            return _refusal(fault)
        if fault == "silent":
            await asyncio.Event().wait()  # Until the client goes away.
        if fault == "cut":
            await request.content.read((request.content_length or 2) // 2)
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        url = f"http://127.0.0.1:{self.port}{request.raw_path}"
        # Host unchanged: it is signed.
        headers = {k: v for k, v in request.headers.items() if k != "Transfer-Encoding"}
        body = io.BytesIO(await request.read())
        async with self._session.request(
            request.method, URL(url, encoded=True), headers=headers, data=body
        ) as answer:
            if fault == "cut answer":
                return await _cut(request, answer)
            if fault == "unconditional" and answer.status == HTTPStatus.PRECONDITION_FAILED:
                # The condition is signed, so that it cannot be left out on the way.
                return web.Response(headers={"ETag": '"0"'})
            passed = {k: v for k, v in answer.headers.items() if k != "Transfer-Encoding"}
            if request.method == "HEAD":
                response = web.StreamResponse(status=answer.status, headers=passed)
                await response.prepare(request)
                return response
            passed.pop("Content-Length", None)
            return web.Response(status=answer.status, headers=passed, body=await answer.read())


def _refusal(fault: Fault) -> web.Response:
    if isinstance(fault, int):
        return web.Response(status=fault, text=f"<?xml?><Code>Made{fault}</Code>")
    code = "<Code>ExpiredToken</Code><Message>The provided token has expired.</Message>"
    return web.Response(status=400, text=f"<?xml?>{code}")


async def _cut(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    """Send half of the answer, nothing of one without a body, and end the connection."""
    response, data = (
        web.StreamResponse(status=answer.status, headers=answer.headers),
        await answer.read(),
    )
    if data:
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response
