"""Devices that do not exist: the scheduler counts them, and no container gets one."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

from local_cluster import api
from local_cluster.errors import ClusterStateError

if TYPE_CHECKING:
    from local_cluster.topology import Cluster

GPU = "nvidia.com/gpu"


def build_capacity_patch(resource: str, count: int) -> dict[str, object]:
    """Return a patch of a node's status that offers `count` of `resource`."""
    return {"status": {"capacity": {resource: str(count)}}}


def advertise(cluster: Cluster, node_name: str, count: int, resource: str = GPU) -> None:
    """Make a node offer `count` devices; the kubelet keeps resources that it does not know."""
    code, answer = api.request(
        cluster,
        "PATCH",
        f"/api/v1/nodes/{node_name}/status",
        build_capacity_patch(resource, count),
        "application/strategic-merge-patch+json",
    )
    if code != http.HTTPStatus.OK:
        raise ClusterStateError(
            f"setting {resource} of node {node_name!r}: HTTP {code}: {answer}",
            expected="the node to exist",
            remedy="`python3 -m local_cluster status` names the nodes",
        )
    api.wait_until(
        f"{count} {resource} allocatable on {node_name}",
        lambda: _read_allocatable(cluster, node_name, resource) == count,
        timeout_s=60,
        remedy="see whether the kubelet runs (`python3 -m local_cluster status`)",
    )


def _read_allocatable(cluster: Cluster, node_name: str, resource: str) -> int:
    _, node = api.request(cluster, "GET", f"/api/v1/nodes/{node_name}")
    return int(node["status"]["allocatable"].get(resource, "0"))
