"""A few requests to the API server, as the administrator."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from typing import TYPE_CHECKING, Any

from local_cluster import certificates
from local_cluster.errors import ComponentError
from local_cluster.topology import API_PORT, Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.1
REQUEST_TIMEOUT_S = 10.0


def request(
    cluster: Cluster,
    method: str,
    path: str,
    body: Any = None,
    content_type: str = "application/json",
) -> tuple[int, Any]:
    """Return status code and decoded body of one request.

    Raises:
        OSError: the API server cannot be reached.
    """
    base = cluster.certificates / certificates.ADMINISTRATOR.file
    context = ssl.create_default_context(cafile=str(cluster.certificates / "ca.crt"))
    context.load_cert_chain(base.with_suffix(".crt"), base.with_suffix(".key"))
    connection = http.client.HTTPSConnection(
        cluster.api_address, API_PORT, context=context, timeout=REQUEST_TIMEOUT_S
    )
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": content_type})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def wait_until(
    what: str,
    is_met: Callable[[], bool],
    *,
    timeout_s: float,
    remedy: str,
    explain: Callable[[], str] = str,
) -> None:
    """Wait until `is_met` returns true; it may also fail to connect meanwhile.

    `explain` adds what is known then to the error.

    Raises:
        ComponentError: it was not met within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    last: object = "no answer yet"
    while time.monotonic() < deadline:
        try:
            if is_met():
                return
            last = "it answers, but the condition is not met"
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(POLL_S)
    raise ComponentError(
        f"{what}: not within {timeout_s:.0f} s ({last}){explain()}", expected=what, remedy=remedy
    )


def is_ready(cluster: Cluster) -> bool:
    """Return whether the API server reports that it is ready."""
    return request(cluster, "GET", "/readyz")[0] == http.HTTPStatus.OK


def read_node_conditions(cluster: Cluster) -> dict[str, str]:
    """Return the status of condition Ready by node name."""
    code, nodes = request(cluster, "GET", "/api/v1/nodes")
    if code != http.HTTPStatus.OK:
        raise OSError(f"listing nodes: HTTP {code}")
    return {
        node["metadata"]["name"]: next(
            (c["status"] for c in node["status"].get("conditions", []) if c["type"] == "Ready"),
            "Unknown",
        )
        for node in nodes["items"]
    }


def apply(cluster: Cluster, plural_path: str, content: dict[str, Any]) -> None:
    """Create or update one object by server-side apply."""
    path = f"{plural_path}/{content['metadata']['name']}?fieldManager=local-cluster&force=true"
    code, answer = request(cluster, "PATCH", path, content, "application/apply-patch+yaml")
    if code not in (http.HTTPStatus.OK, http.HTTPStatus.CREATED):
        raise ComponentError(
            f"{content['kind']} {content['metadata']['name']}: HTTP {code}: {answer}",
            expected="it accepted",
            remedy="read the API server's log (`python3 -m local_cluster logs kube-apiserver`)",
        )
