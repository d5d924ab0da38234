"""Names, addresses and paths of a cluster: pure, so that every module agrees on them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_cluster.errors import ClusterStateError, NetworkError

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_NAME = "detection-training"
CLUSTER_RANGE = ipaddress.IPv4Network("10.89.0.0/16")
PODS_RANGE = ipaddress.IPv4Network("10.200.0.0/16")
SERVICES_RANGE = ipaddress.IPv4Network("10.96.0.0/16")
API_PORT = 6443
DNS_PORT = 53
REGISTRY_PORT = 5000
PACKET_QUEUE = 100
"""The queue in which each node's packet filter waits for the policy enforcer."""
REGISTRY_NAME = "detection-training.local"
LARGEST_NODE_INDEX = 200
NODE_PATTERN = re.compile(r"node-([1-9][0-9]{0,2})")
NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster; the first also runs the control plane."""

    index: int

    @property
    def name(self) -> str:
        """Its name in Kubernetes, and its host name."""
        return f"node-{self.index}"

    @property
    def is_control_plane(self) -> bool:
        """Whether etcd, the API server and the controllers run here."""
        return self.index == 1

    @property
    def pods_range(self) -> ipaddress.IPv4Network:
        """The addresses of its pods."""
        return ipaddress.IPv4Network((int(PODS_RANGE.network_address) + (self.index << 8), 24))


def node_named(name: str) -> Node:
    """Return the node with this `name`."""
    match = NODE_PATTERN.fullmatch(name)
    if not match or int(match[1]) > LARGEST_NODE_INDEX:
        raise ClusterStateError(
            f"the node name {name!r}",
            expected=f"node-1 to node-{LARGEST_NODE_INDEX}",
            remedy="`python3 -m local_cluster status` names the nodes",
        )
    return Node(int(match[1]))


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster by name, its subnet's third octet, and where its state is kept."""

    name: str
    subnet_index: int
    cache: Path
    audited: bool = False
    """Whether the API server logs each request to trainings and their objects."""

    @property
    def state(self) -> Path:
        """What is removed with the cluster: certificates, etcd, logs, volumes, kubelet state."""
        return self.cache / "clusters" / self.name

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def audit_policy(self) -> Path:
        """The audit policy."""
        return self.state / "audit-policy.json"

    @property
    def audit_log(self) -> Path:
        """The audit log of the API server, one JSON object per line."""
        return self.state / "audit.log"

    @property
    def certificates(self) -> Path:
        """The certificate authority and everything that it signed."""
        return self.state / "certificates"

    @property
    def volumes(self) -> Path:
        """The folders behind dynamically provisioned volumes."""
        return self.state / "volumes"

    @property
    def registry(self) -> Path:
        """The image registry's folder, shared by all clusters of the machine."""
        return self.cache / "registry"

    @property
    def subnet(self) -> ipaddress.IPv4Network:
        """The addresses of the nodes, and of the host on their network."""
        return choose_subnet(self.subnet_index)

    @property
    def host_address(self) -> str:
        """The host's end of the link to the first node."""
        return str(self.subnet[1])

    @property
    def api_address(self) -> str:
        """Where API server, DNS and registry listen."""
        return self.node_address(Node(1))

    @property
    def api_url(self) -> str:
        """The API server's address for the host and for the nodes."""
        return f"https://{self.api_address}:{API_PORT}"

    @property
    def host_link(self) -> str:
        """The host's network interface while the cluster runs."""
        return f"dtcluster{self.subnet_index}"

    @property
    def cgroup(self) -> str:
        """The control group of the pods of all its nodes."""
        return f"detection-training-cluster-{self.name}"

    def node_address(self, node: Node) -> str:
        """Return the address of `node`."""
        return str(self.subnet[node.index + 1])

    def node_state(self, node: Node) -> Path:
        """Return the folder of the configuration and logs of `node`."""
        return self.state / "nodes" / node.name

    def image_store(self, node: Node) -> Path:
        """Return the folder of containerd on `node`, which outlives the cluster."""
        return self.cache / "image-stores" / self.name / node.name


def choose_subnet(index: int) -> ipaddress.IPv4Network:
    """Return the `index`-th node network."""
    base = int(CLUSTER_RANGE.network_address)
    return ipaddress.IPv4Network((base + (index << 8), 24))


def choose_subnet_index(taken: list[ipaddress.IPv4Network]) -> int:
    """Return the first index whose network overlaps none of `taken`."""
    for index in range(256):
        if not any(choose_subnet(index).overlaps(network) for network in taken):
            return index
    raise NetworkError(
        f"every /24 network of {CLUSTER_RANGE} overlaps a route of this machine",
        expected="one free network for the cluster's nodes",
        remedy="end clusters that are no longer needed (`python3 -m local_cluster list`)",
    )


def check_name(name: str) -> None:
    """Refuse a cluster name that cannot be the name of a folder and a control group."""
    if not NAME_PATTERN.fullmatch(name):
        raise ClusterStateError(
            f"the cluster name {name!r}",
            expected="at most 40 lower-case letters, digits and dashes, "
            "beginning and ending with a letter or digit",
            remedy="give another --name",
        )
