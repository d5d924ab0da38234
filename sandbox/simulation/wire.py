"""A fast asynchronous connection to an API server: for load, not for rules.

Bodies are sent as they are and returned undecoded unless requested otherwise; watches can request
only metadata, so that the measurement takes little of the measured machine.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

from sandbox.site.kube import MERGE, ApiError

Object = dict[str, Any]
JSON = "application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PAGE_SIZE = 1000
READ_BUFFER = 2**21
BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT})
"""Too many requests, or a watch cache that lags behind: the client must retry."""
BUSY_S, AGAIN_S = 120.0, 1.0


@dataclass(frozen=True, slots=True)
class Wire:
    """One pool of connections to one API server."""

    session: aiohttp.ClientSession
    url: str

    @classmethod
    @asynccontextmanager
    async def open(cls, kubeconfig: Path, connections: int = 100) -> AsyncIterator[Self]:
        """Connect with the kubeconfig, which must contain a client certificate."""
        configuration = Configuration()
        await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
        context = RESTClientObject(configuration).ssl_context
        connector = aiohttp.TCPConnector(ssl=context, limit=connections)
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, read_bufsize=READ_BUFFER
        ) as session:
            yield cls(session, configuration.host)

    async def send(
        self, method: str, path: str, body: Any = None, content_type: str = JSON
    ) -> bytes:
        """Send one request; return the answer's bytes.

        Raises:
            ApiError: the API server refused.
        """
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type, "Accept": JSON}
        async with self.session.request(
            method, self.url + path, data=data, headers=headers
        ) as answer:
            text = await answer.read()
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(answer.status, text.decode(errors="replace")[:1000])
            return text

    async def create(self, path: str, body: Any) -> bytes:
        """Create an object."""
        return await self.send("POST", path, body)

    async def merge(self, path: str, body: Any) -> bytes:
        """Merge `body` into an object."""
        return await self.send("PATCH", path, body, MERGE)

    async def get(self, path: str) -> Object:
        """Read one object or list; retry while the API server reports that it is too busy.

        Raises:
            ApiError: it refused, or was too busy for BUSY_S.
        """
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                found: Object = json.loads(await self.send("GET", path))
            except ApiError as error:
                if error.status not in BUSY or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(AGAIN_S)
            else:
                return found

    async def items(self, path: str) -> AsyncIterator[Object]:
        """List a collection page by page; `path` may contain a query."""
        going_on = ""
        while True:
            mark = "&" if "?" in path else "?"
            page = await self.get(f"{path}{mark}limit={PAGE_SIZE}&continue={going_on}")
            for item in page["items"]:
                yield item
            going_on = page["metadata"].get("continue", "")
            if not going_on:
                return

    async def version(self, path: str) -> str:
        """Return the resourceVersion of a collection's present state."""
        page = await self.get(f"{path}?limit=1")
        version: str = page["metadata"]["resourceVersion"]
        return version

    async def watch(
        self, path: str, *, metadata_only: bool = True, containing: bytes = b"", since: str = "0"
    ) -> AsyncIterator[Object]:
        """Yield the events of a collection from its present state on, that state first.

        From the state `since`, if it is given, and without that state. It never ends: if the API
        server ends the watch, for example because the client reads too slowly or the server is too
        busy, the present state comes (again). Events without `containing` in their text are
        skipped.

        Raises:
            ApiError: the API server refused.
            aiohttp.ClientConnectionError: it cannot be reached.
        """
        while True:
            with suppress(aiohttp.ClientPayloadError):
                async for line in self._lines(path, since, metadata_only=metadata_only):
                    since = "0"
                    if containing not in line:
                        continue
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    yield event
            await asyncio.sleep(AGAIN_S)

    async def _lines(self, path: str, since: str, *, metadata_only: bool) -> AsyncIterator[bytes]:
        """Yield the lines of one watch; nothing if the API server is too busy to begin it."""
        headers = {"Accept": METADATA if metadata_only else JSON}
        url = f"{self.url}{path}?watch=1&resourceVersion={since}"
        endless = aiohttp.ClientTimeout(total=None)
        async with self.session.get(url, headers=headers, timeout=endless) as answer:
            if answer.status in BUSY:
                return
            if answer.status >= HTTPStatus.BAD_REQUEST:
                raise ApiError(answer.status, (await answer.text())[:1000])
            async for line in answer.content:
                yield line
