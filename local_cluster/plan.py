"""The plan of a node's process 1: mounts, addresses and programs, as data. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from local_cluster.processes import build_processes
from local_cluster.topology import PACKET_QUEUE, PODS_RANGE, Cluster, Node

if TYPE_CHECKING:
    from pathlib import Path

    from local_cluster.binaries import Programs

HIDDEN_DIRECTORIES = ("/run", "/var/log")
# With proxy ARP this node answers the host for the nodes behind it.
FORWARDING = ("ip_forward", "conf/eth0/proxy_arp")


def build_plan(cluster: Cluster, node: Node, programs: Programs) -> dict[str, Any]:
    """Return the plan that node_init.py reads."""
    state = cluster.node_state(node)
    return {
        "setup": [
            *build_mounts(state),
            *build_addresses(cluster, node),
            *build_packet_queue(),
            ["hostname", node.name],
        ],
        "linked": str(state / "linked"),
        "prepared": str(state / "prepared"),
        "logs": str(state / "logs"),
        "stopped": str(state / "stopped"),
        "api_url": cluster.api_url,
        "processes": [asdict(process) for process in build_processes(cluster, node, programs)],
    }


def build_mounts(state: Path) -> list[list[str]]:
    """Return the mounts that keep the node's files out of the host's folders."""
    return [
        # Kubelet and containerd need mounts that propagate between them and their pods.
        ["mount", "--make-rshared", "/"],
        *(["mount", "-t", "tmpfs", "tmpfs", directory] for directory in HIDDEN_DIRECTORIES),
        ["mkdir", "-p", "/run/lock"],
        ["mount", "--bind", str(state / "var-lib"), "/var/lib"],
    ]


def build_addresses(cluster: Cluster, node: Node) -> list[list[str]]:
    """Return the commands that give the node its addresses and routes."""
    address = cluster.node_address(node)
    prefix = cluster.subnet.prefixlen if node.is_control_plane else 32
    gateway = cluster.host_address if node.is_control_plane else cluster.api_address
    outside = ["-s", str(PODS_RANGE), "!", "-d", str(PODS_RANGE)]
    return [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "address", "add", f"{address}/{prefix}", "dev", "eth0"],
        ["ip", "link", "set", "eth0", "up"],
        ["ip", "route", "add", "default", "via", gateway, "dev", "eth0", "onlink"],
        *(["sh", "-c", f"echo 1 > /proc/sys/net/ipv4/{name}"] for name in FORWARDING),
        ["iptables", "-w", "-t", "nat", "-A", "POSTROUTING", *outside, "-j", "MASQUERADE"],
    ]


def build_packet_queue() -> list[list[str]]:
    """Return the rules that pass the first packet of each pod's connections to the enforcer.

    In FORWARD, a service's address has already become a pod's. The node's own connections to its
    pods do not pass there: the kubelet's probes are admitted, as Kubernetes requires. While the
    enforcer does not run, all connections are admitted. kube-network-policies would add rules of
    its own, which need the kernel's option NFT_QUEUE; where it is missing, as here, it logs that,
    and only these rules are used.
    """
    rule = ["iptables", "-w", "-t", "mangle", "-A", "FORWARD", "-m", "conntrack"]
    queue = ["-j", "NFQUEUE", "--queue-num", str(PACKET_QUEUE), "--queue-bypass"]
    return [[*rule, "--ctstate", "NEW", end, str(PODS_RANGE), *queue] for end in ("-s", "-d")]
