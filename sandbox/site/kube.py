"""The Kubernetes client of the tests, the demo, the benchmarks and chaos: raw paths, plain dicts.

`AsyncKube` sends requests and reads watches. `Kube` is its synchronous face. The operator has its
own client: the benchmarks measure that one, so they do not send their load with it. `local_cluster`
runs before anything is installed and sends a few requests with the standard library.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.rest import RESTClientObject

T = TypeVar("T")
Object = dict[str, Any]
TRAININGS = "/apis/detectiontraining.dev/v1alpha1/namespaces/{namespace}/detectiontrainings"
JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
PODS = "/api/v1/namespaces/{namespace}/pods"
NAMESPACES = "/api/v1/namespaces"
NODES = "/api/v1/nodes"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
JSON = "application/json"
MERGE = "application/merge-patch+json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PAGE_SIZE = 1000
READ_BUFFER = 2**21
BUSY = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.GATEWAY_TIMEOUT})
"""Too many requests, or a watch cache that lags behind: the client should retry."""
BUSY_S, RETRY_S = 120.0, 1.0
REQUEST_TIMEOUT, NO_TIMEOUT = aiohttp.ClientTimeout(total=120), aiohttp.ClientTimeout()
OBJECT_WATCH_S = 30
"""A watch of one object ends after this time, in case the connection is dead."""


class ApiError(Exception):
    """The API server refused; `status` is its HTTP code, `message` its own text."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP code beside the message."""
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class WaitTimeoutError(AssertionError):
    """A wait timed out; the message carries the last state seen."""


@dataclass(frozen=True, slots=True)
class AsyncKube:
    """One pool of connections to one API server.

    Cheap enough to send load: bodies may be bytes, answers come back undecoded from `send`, and
    watches can ask for metadata alone.
    """

    session: aiohttp.ClientSession
    configuration: Configuration

    @classmethod
    @asynccontextmanager
    async def open(
        cls, kubeconfig: Path | None, *, token: str | None = None, connections: int = 100
    ) -> AsyncIterator[Self]:
        """Connect by the kubeconfig (None: the current context), or as the user of `token`."""
        configuration = Configuration()
        path = str(kubeconfig) if kubeconfig else None
        await config.load_kube_config(path, client_configuration=configuration)
        if token is not None:
            configuration.cert_file = configuration.key_file = None
            configuration.refresh_api_key_hook = None
            configuration.api_key = {"BearerToken": f"Bearer {token}"}
        context = RESTClientObject(configuration).ssl_context
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=connections),
            timeout=REQUEST_TIMEOUT,
            read_bufsize=READ_BUFFER,
            proxy=configuration.proxy,
            trust_env=bool(getproxies_environment()),
        ) as session:
            yield cls(session, configuration)

    async def ask(
        self, method: str, path: str, headers: dict[str, str], **options: Any
    ) -> aiohttp.ClientResponse:
        """Send one request with the credentials and aiohttp's `options`; return any response."""
        if token := await self.configuration.get_api_key_with_prefix("BearerToken"):
            headers = {**headers, "Authorization": token}
        url, server = self.configuration.host + path, self.configuration.tls_server_name
        return await self.session.request(
            method, url, headers=headers, server_hostname=server, **options
        )

    async def send(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON
    ) -> bytes:
        """Send one request; return the response's bytes.

        Raises:
            ApiError: the API server refused.
        """
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        headers = {"Content-Type": content_type, "Accept": accept}
        async with await self.ask(method, path, headers, data=data) as answer:
            await _refuse(answer)
            return await answer.read()

    async def create(self, path: str, body: Any) -> bytes:
        """Create an object."""
        return await self.send("POST", path, body)

    async def merge(self, path: str, body: Any) -> bytes:
        """Merge `body` into an object."""
        return await self.send("PATCH", path, body, MERGE)

    async def get(self, path: str) -> Object:
        """Read one object or list; retry while the API server is too busy.

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
                await asyncio.sleep(RETRY_S)
            else:
                return found

    async def items(self, path: str) -> AsyncIterator[Object]:
        """List a collection page by page; `path` may have a query."""
        position = ""
        while True:
            page = await self.get(_with_query(path, f"limit={PAGE_SIZE}&continue={position}"))
            for item in page["items"]:
                yield item
            position = page["metadata"].get("continue", "")
            if not position:
                return

    async def version(self, path: str) -> str:
        """Return the resourceVersion of a collection's present state."""
        page = await self.get(f"{path}?limit=1")
        version: str = page["metadata"]["resourceVersion"]
        return version

    async def watch(
        self, path: str, *, metadata_only: bool = True, containing: bytes = b"", since: str = "0"
    ) -> AsyncIterator[Object]:
        """Yield the events of a collection for ever; skip those without `containing` in their text.

        The present state comes first, or the events since the version `since`. When the watch
        ends, as with a client that reads too slowly, the next one starts with the present state.

        Raises:
            ApiError: the API server refused.
            aiohttp.ClientConnectionError: the API server cannot be reached.
        """
        accept = METADATA if metadata_only else JSON
        while True:
            with suppress(aiohttp.ClientPayloadError):
                async for line in self._lines(path, since, accept):
                    since = "0"
                    if containing not in line:
                        continue
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    yield event
            await asyncio.sleep(RETRY_S)

    async def states(self, path: str) -> AsyncGenerator[Object | None]:
        """Yield the object at `path` (None: absent), now and after each change, for ever."""
        collection, name = path.rsplit("/", 1)
        selected = f"{collection}?fieldSelector=metadata.name={name}"
        while True:
            listed = await self.get(selected)
            yield listed["items"][0] if listed["items"] else None
            watched = f"{selected}&timeoutSeconds={OBJECT_WATCH_S}"
            with suppress(aiohttp.ClientPayloadError):
                async for line in self._lines(watched, listed["metadata"]["resourceVersion"], JSON):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        break
                    yield None if event["type"] == "DELETED" else event["object"]

    async def _lines(self, path: str, since: str, accept: str) -> AsyncIterator[bytes]:
        """Yield the lines of one watch; none if the API server is too busy to start it."""
        path = _with_query(path, f"watch=1&resourceVersion={since}")
        async with await self.ask("GET", path, {"Accept": accept}, timeout=NO_TIMEOUT) as answer:
            if answer.status in BUSY:
                return
            await _refuse(answer)
            async for line in answer.content:
                yield line


@dataclass(frozen=True, slots=True)
class Kube:
    """The synchronous face of an `AsyncKube`, whose event loop runs in its own thread."""

    client: AsyncKube
    loop: asyncio.AbstractEventLoop

    @classmethod
    @contextmanager
    def connect(cls, kubeconfig: Path | None, *, token: str | None = None) -> Iterator[Self]:
        """Connect as `AsyncKube.open` does."""
        with _loop_in_a_thread() as loop:
            stack = AsyncExitStack()
            opened = stack.enter_async_context(AsyncKube.open(kubeconfig, token=token))
            kube = cls(_await(opened, loop), loop)
            try:
                yield kube
            finally:
                _await(stack.aclose(), loop)

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = JSON, accept: str = JSON
    ) -> Object:
        """Send one request; return the object in the answer."""
        sent = self.client.send(method, path, body, content_type, accept)
        found: Object = json.loads(_await(sent, self.loop))
        return found

    def get(self, path: str) -> Object:
        """Return the object or the list at `path`."""
        return _await(self.client.get(path), self.loop)

    def find(self, path: str) -> Object | None:
        """Return the object, or None if it does not exist."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def items(self, path: str) -> list[Object]:
        """Return the items of the list at `path`."""
        found: list[Object] = self.get(path)["items"]
        return found

    def create(self, path: str, body: Object, *, dry_run: bool = False) -> Object:
        """Create an object, validated as strictly as kubectl does."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("POST", path + query, body)

    def patch(self, path: str, body: Object) -> Object:
        """Merge `body` into an object."""
        return self.request("PATCH", path + "?fieldValidation=Strict", body, MERGE)

    def delete(self, path: str, *, grace_s: int | None = None) -> None:
        """Delete an object and, in the background, what it owns; ignore an absent one."""
        options: Object = {"propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        try:
            self.request("DELETE", path, options)
        except ApiError as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise

    def wait(
        self,
        path: str,
        until: Callable[[Object | None], bool],
        *,
        what: str,
        timeout_s: float = 120,
    ) -> Object:
        """Wait by watch until `until` accepts the object at `path` (None: absent); return it."""
        states, seen = self.client.states(path), None
        deadline = time.monotonic() + timeout_s

        def next_state() -> Object | None:
            coming = asyncio.wait_for(anext(states), deadline - time.monotonic())
            return _await(coming, self.loop)

        try:
            # `until` runs in this thread, so it may send requests too.
            while not until(seen := next_state()):
                pass
        except TimeoutError as error:
            status = json.dumps((seen or {}).get("status"))[:4000]
            message = f"{what}: not within {timeout_s:.0f} s; {path} has status {status}"
            raise WaitTimeoutError(message) from error
        finally:
            _await(states.aclose(), self.loop)
        return seen or {}


def condition(training: Object | None, kind: str) -> Object:
    """Return one condition of a training, or an empty one."""
    conditions = ((training or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def phase(training: Object | None) -> str:
    """Return a training's phase; empty if it has none."""
    return str(((training or {}).get("status") or {}).get("phase") or "")


def _with_query(path: str, query: str) -> str:
    return f"{path}{'&' if '?' in path else '?'}{query}"


async def _refuse(answer: aiohttp.ClientResponse) -> None:
    """Raise what an API server refused, with the message of its Status if it sent one."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return
    text = (await answer.read()).decode(errors="replace")
    try:
        message = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        message = text[:1000]
    raise ApiError(answer.status, message)


@contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="kube", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _await(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()
