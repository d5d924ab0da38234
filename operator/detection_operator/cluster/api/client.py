"""One connection to the Kubernetes API: plain dicts, errors of its own, a time limit per call.

`kubernetes.aio` provides configuration, credentials and the connection pool; its typed models would
take about ten times as long. The rest of the operator uses the API through `Client`, except for the
watches, which are Kopf's.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import urlencode
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from pydantic_core import from_json

from detection_operator.cluster.api.decode import decode
from detection_operator.cluster.api.resources import Object, Resource
from detection_operator.cluster.api.telemetry import Telemetry
from detection_operator.errors import (
    ConfigurationError,
    TooLargeError,
    UnavailableError,
    cluster_error,
)

POOL_SIZE = 100
REQUEST_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
WATCH_S = 20.0
"""Less than the time limit of a call."""
PAGE_SIZE = 500
FIRST_PAGE_SIZE = 100
PAGE_BYTES = 4 * 2**20
"""Target size of one page of a list; decoded, it takes up to ten times the memory."""
MAX_BYTES = 8 * 2**20
"""The longest answer that is read; etcd limits an object to 1.5 MB."""
JSON = "application/json"
DOCUMENT = "application/jwk-set+json, application/json"
JSON_PATCH = "application/json-patch+json"
METADATA_ONLY = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Verb = Literal["get", "list", "watch", "create", "update", "delete", "patch"]
METHODS: Mapping[Verb, str] = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "delete": "DELETE",
    "patch": "PATCH",
}


async def load_configuration(environment: Mapping[str, str] = os.environ) -> Configuration:
    """Return how to reach the API: `KUBECONFIG`, else the pod's service account, else ~/.kube.

    Raises:
        ConfigurationError: none of these exists, or it cannot be read.
    """
    configuration = Configuration()
    try:
        if "KUBECONFIG" not in environment and "KUBERNETES_SERVICE_HOST" in environment:
            config.load_incluster_config(client_configuration=configuration)
        else:
            path = environment.get("KUBECONFIG")
            await config.load_kube_config(path, client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        msg = (
            f"expected a service account in the pod or a kubeconfig (KUBECONFIG, ~/.kube/config); "
            f"received neither: {error}"
        )
        raise ConfigurationError(msg) from error
    configuration.connection_pool_maxsize = POOL_SIZE
    # Otherwise aiohttp searches for a netrc file in a thread for each request: twice the cost.
    configuration.client_session_kwargs = {"trust_env": trusts_environment()}
    return configuration


def trusts_environment() -> bool:
    """Return whether the environment configures connections, for example a proxy."""
    return bool(getproxies_environment())


class Client:
    """The API as the operator uses it."""

    def __init__(self, configuration: Configuration, telemetry: Telemetry) -> None:
        """Share one connection pool between all callers."""
        self.configuration = configuration
        self._api = ApiClient(configuration)
        self._api.user_agent = "detection-operator"
        self._telemetry = telemetry

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        """Read one object."""
        return await self.request("get", resource.path(namespace, name))

    async def get_path(self, path: str) -> Object:
        """Read a document that is not a resource (discovery, signing keys).

        The signing keys have a media type of their own; the API server offers no other for them.
        """
        return await self.request("get", path, accept=DOCUMENT)

    async def items(  # noqa: PLR0913 - what a list can be narrowed by
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[Object]:
        """List a collection page by page; a page has fewer objects if these are large.

        Raises:
            GoneError: it took so long that the API no longer keeps the snapshot; list again.
        """
        query = {"labelSelector": labels, "fieldSelector": fields}
        accept = METADATA_ONLY if metadata_only else JSON
        size = min(page_size, FIRST_PAGE_SIZE)
        while True:
            query["limit"] = str(size)
            try:
                page, length = await self._page(resource.path(namespace), query, accept)
            except TooLargeError:
                if size == 1:
                    raise
                size = max(1, size // 4)
                continue
            # An empty list of metadata has null for its items.
            items = page["items"] or []
            size = _next_size(size, length, len(items), page_size)
            query["continue"] = page["metadata"].get("continue", "")
            del page
            # Drop each object once the caller has it, so that only the rest of a page stays in
            # memory.
            items.reverse()
            while items:
                yield items.pop()
            if not query["continue"]:
                return

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        """Create one object.

        Raises:
            AlreadyExistsError: its name is taken.
        """
        return await self.request("create", resource.path(namespace), body=body)

    async def delete(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str,
        grace_s: int | None = None,
    ) -> None:
        """Delete one object in the background, if it is still the one with this uid.

        Without a propagation policy, a Job's pods would be orphaned and still run.

        Raises:
            ConflictError: another object has this name now.
        """
        options: Object = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        await self.request("delete", resource.path(namespace, name), body=options)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        """Replace one object, if it is still at the resourceVersion that `body` has.

        Raises:
            ConflictError: another wrote in between.
        """
        return await self.request("update", resource.path(namespace, name), body=body)

    async def wait_change(
        self, resource: Resource, namespace: str, name: str, resource_version: str
    ) -> None:
        """Return once the object is no longer at `resource_version`, or after a time limit."""
        query = {
            "watch": "1",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": resource_version,
            "timeoutSeconds": str(int(WATCH_S)),
        }
        await self.request("watch", resource.path(namespace), query=query, first_line=True)

    async def replace_status(
        self, resource: Resource, namespace: str, name: str, resource_version: str, status: Object
    ) -> Object:
        """Replace the whole status, if the object is still at `resource_version`.

        A JSON patch contains only the status (a merge patch could not remove fields, a PUT needs
        the whole object); with the resourceVersion in it, the API server compares that first.

        Raises:
            ConflictError: another wrote in between.
        """
        patch = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": resource_version},
            {"op": "add", "path": "/status", "value": status},
        ]
        path = resource.path(namespace, name, "status")
        return await self.request("patch", path, body=patch, content_type=JSON_PATCH)

    async def request(  # noqa: PLR0913 - the one place where a request is put together
        self,
        verb: Verb,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
        first_line: bool = False,
    ) -> Object:
        """Send one request and return the object in the answer; of a stream, the first object.

        Raises:
            ClusterError: the class depends on the answer's status and reason.
        """
        headers = {"Accept": accept, "Content-Type": content_type}
        status, text = await self._exchange(
            verb, path, query or {}, body, headers, first_line=first_line
        )
        return await _decoded(f"{METHODS[verb]} {path}", status, text)

    async def _page(self, path: str, query: Mapping[str, str], accept: str) -> tuple[Object, int]:
        """Return a page of a list, and its size in bytes."""
        headers = {"Accept": accept, "Content-Type": JSON}
        status, text = await self._exchange("list", path, query, None, headers)
        return await _decoded(f"GET {path}", status, text), len(text)

    async def _exchange(  # noqa: PLR0913 - as `request`
        self,
        verb: Verb,
        path: str,
        query: Mapping[str, str],
        body: Any,
        headers: dict[str, str],
        *,
        first_line: bool = False,
    ) -> tuple[int, bytes]:
        """Send one request and return the status and the text of its answer."""
        encoded = urlencode({key: value for key, value in query.items() if value})
        encoded = f"?{encoded}" if encoded else ""
        started = time.monotonic()
        status = 0
        try:
            status, text = await self._send(
                METHODS[verb], path + encoded, body, headers, first_line=first_line
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            what = f"{METHODS[verb]} {path}"
            raise UnavailableError(what, 0, str(error) or type(error).__name__) from error
        finally:
            self._telemetry.request_ended(verb, status, time.monotonic() - started)
        return status, text

    async def _send(
        self, method: str, path: str, body: Any, headers: dict[str, str], *, first_line: bool
    ) -> tuple[int, bytes]:
        url = self.configuration.host + path
        headers |= self._api.default_headers
        # Reads the service account's token again once a minute, because it rotates.
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        answer = await self._api.call_api(
            method, url, header_params=headers, body=body, _request_timeout=timeout
        )
        try:
            if not first_line or answer.status != HTTPStatus.OK:
                what = f"{method} {path.partition('?')[0]}"
                return answer.status, await _read(what, answer.status, answer.response)
            line = await answer.response.content.readline()
            answer.response.close()
        except asyncio.CancelledError:
            answer.response.close()
            raise
        return answer.status, line


def _next_size(size: int, length: int, count: int, largest: int) -> int:
    """Return the size of the next page, from the `count` objects in `length` bytes.

    It grows slowly because objects may differ in size.
    """
    fitting = PAGE_BYTES * count // max(length, 1)
    return max(1, min(fitting, size * 8, largest)) if count else size


async def _read(what: str, status: int, response: aiohttp.ClientResponse) -> bytes:
    """Return the text of an answer.

    Raises:
        TooLargeError: it has more than `MAX_BYTES`; the rest is not read.
    """
    parts, length = [], 0
    while part := await response.content.readany():
        length += len(part)
        if length > MAX_BYTES:
            response.close()
            msg = f"expected at most {MAX_BYTES} bytes; received more, and did not read the rest"
            raise TooLargeError(what, status, msg)
        parts.append(part)
    return b"".join(parts)


async def _decoded(what: str, status: int, text: bytes) -> Object:
    try:
        body = from_json(text) if text else {}
    except ValueError:
        # Nested too deep, or not JSON: to find that out may take a second.
        body = await asyncio.to_thread(_decode_slowly, text)
    if not isinstance(body, dict):
        if status < HTTPStatus.BAD_REQUEST:
            raise UnavailableError(what, status, f"expected a JSON object; received {text[:200]!r}")
        body = {"message": text[:500].decode(errors="replace")}
    if status >= HTTPStatus.BAD_REQUEST:
        raise cluster_error(what, status, body.get("reason", ""), body.get("message", ""))
    return body


def _decode_slowly(text: bytes) -> Any:
    try:
        return decode(text)
    except ValueError:
        return None
