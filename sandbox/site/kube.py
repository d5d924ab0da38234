"""A small synchronous Kubernetes client: raw paths, plain dicts, waits by watch.

For the demo and the tests; the operator has its own, asynchronous one.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self

import urllib3
from kubernetes import client, config

Object = dict[str, Any]
TRAININGS = "/apis/detectiontraining.dev/v1alpha1/namespaces/{namespace}/detectiontrainings"
JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
PODS = "/api/v1/namespaces/{namespace}/pods"
NAMESPACES = "/api/v1/namespaces"
NODES = "/api/v1/nodes"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"


class ApiError(Exception):
    """The API server refused; `status` is its HTTP code, with its own message."""

    def __init__(self, status: int, message: str) -> None:
        """Keep the HTTP code beside the message."""
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class WaitTimeoutError(AssertionError):
    """The expected state did not come in time; the message has the last state."""


@dataclass(frozen=True)
class Kube:
    """One connection to an API server."""

    api: client.ApiClient

    @classmethod
    def connect(cls, kubeconfig: Path | None) -> Self:
        """Use the given kubeconfig, or the current context."""
        configuration = client.Configuration()
        path = str(kubeconfig) if kubeconfig else None
        config.load_kube_config(path, client_configuration=configuration)
        configuration.retries = urllib3.Retry(total=0)
        return cls(client.ApiClient(configuration))

    def credentials(self) -> dict[str, str]:
        """Return the header of a kubeconfig with a token; a certificate belongs to the pool."""
        authorization = self.api.configuration.get_api_key_with_prefix("authorization")
        return {"Authorization": authorization} if authorization else {}

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json"
    ) -> Object:
        """Send one request; return the object in the answer."""
        answer = self._send(method, path, body, content_type, timeout=30)
        found: Object = json.loads(answer.data)
        return found

    def _send(
        self, method: str, path: str, body: Any, content_type: str, *, timeout: float, **more: Any
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Content-Type": content_type, "Accept": "application/json", **self.credentials()}
        pool = self.api.rest_client.pool_manager
        url = self.api.configuration.host + path
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        answer: urllib3.BaseHTTPResponse = pool.request(
            method, url, body=data, headers=headers, timeout=timeout, **more
        )
        if answer.status >= HTTPStatus.BAD_REQUEST:
            try:
                message = json.loads(answer.data)["message"]
            except (ValueError, KeyError):
                message = answer.data.decode(errors="replace")
            raise ApiError(answer.status, message)
        return answer

    def get(self, path: str) -> Object:
        """Return the object or the list at `path`."""
        return self.request("GET", path)

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
        """Create an object, validated as strictly as by kubectl."""
        query = "?fieldValidation=Strict" + ("&dryRun=All" if dry_run else "")
        return self.request("POST", path + query, body)

    def patch(self, path: str, body: Object) -> Object:
        """Merge `body` into an object."""
        return self.request("PATCH", path + "?fieldValidation=Strict", body, MERGE)

    def delete(self, path: str, *, grace_s: int | None = None) -> None:
        """Delete an object and, in the background, its dependents; a missing object is no error."""
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
        """Wait with a watch until `until` accepts the object at `path` (None: absent)."""
        deadline = time.monotonic() + timeout_s
        seen: Object | None = None
        for seen in self._states(path, deadline):
            if until(seen):
                return seen or {}
        status = json.dumps((seen or {}).get("status"))[:4000]
        message = f"{what}: not within {timeout_s:.0f} s; {path} has status {status}"
        raise WaitTimeoutError(message)

    def _states(self, path: str, deadline: float) -> Iterator[Object | None]:
        collection, name = path.rsplit("/", 1)
        while time.monotonic() < deadline:
            listed = self.get(f"{collection}?fieldSelector=metadata.name={name}")
            yield listed["items"][0] if listed["items"] else None
            version = listed["metadata"]["resourceVersion"]
            yield from self._watch(collection, name, version, deadline)

    def _watch(
        self, collection: str, name: str, version: str, deadline: float
    ) -> Iterator[Object | None]:
        left = max(int(deadline - time.monotonic()), 1)
        query = f"?watch=1&fieldSelector=metadata.name={name}&resourceVersion={version}"
        answer = self._send(
            "GET",
            f"{collection}{query}&timeoutSeconds={min(left, 30)}",
            None,
            "application/json",
            timeout=left + 5,
            preload_content=False,
        )
        buffered = b""
        for chunk in answer.stream(amt=None):
            buffered += chunk
            *lines, buffered = buffered.split(b"\n")
            for line in filter(None, lines):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                yield None if event["type"] == "DELETED" else event["object"]
        answer.release_conn()


def condition(training: Object | None, kind: str) -> Object:
    """Return one condition of a training, or an empty one."""
    conditions = ((training or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def phase(training: Object | None) -> str:
    """Return a training's phase; empty if it has none."""
    return str(((training or {}).get("status") or {}).get("phase") or "")
