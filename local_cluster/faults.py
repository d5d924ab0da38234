"""Deliberate faults: a node that dies, a program that is stopped for a while.

The commands `python3 -m local_cluster node-kill`, `stop` and `start` call it, and so do tests of
the operator in a failing cluster.
"""

from __future__ import annotations

from pathlib import Path

from local_cluster import lifecycle, namespaces
from local_cluster.binaries import Programs
from local_cluster.errors import ClusterStateError
from local_cluster.processes import build_processes
from local_cluster.topology import Node, node_named

NAMES_ONLY = Programs(Path("components"), Path("policy-enforcer"))


def kill_node(cluster_name: str, node_name: str) -> None:
    """Kill a node as a power failure would: all its processes at once, without a shutdown.

    `lifecycle.up` with as many nodes as before starts it again, empty except for images.
    """
    with lifecycle.held(cluster_name):
        running = lifecycle.load_up(cluster_name)
        node = node_named(node_name)
        if node.is_control_plane or node.index not in running.nodes:
            others = [Node(index).name for index in running.nodes if index != 1]
            raise ClusterStateError(
                f"the node {node_name!r} of cluster {cluster_name!r}",
                expected="a node other than node-1, whose end would be the cluster's: "
                + (f"one of {', '.join(others)}" if others else "there is none"),
                remedy="`python3 -m local_cluster up --nodes 2` adds one; `down` ends all",
            )
        namespaces.kill(running.nodes[node.index])


def stop_program(cluster_name: str, program: str, node_name: str = "node-1") -> None:
    """Kill a program of a node, and keep it stopped until it is started again."""
    _stop_file_directory(cluster_name, program, node_name).joinpath(program).touch()


def start_program(cluster_name: str, program: str, node_name: str = "node-1") -> None:
    """Let a node start a stopped program again."""
    directory = _stop_file_directory(cluster_name, program, node_name)
    directory.joinpath(program).unlink(missing_ok=True)


def _stop_file_directory(cluster_name: str, program: str, node_name: str) -> Path:
    """Return the folder whose files name the programs that a node keeps stopped."""
    cluster = lifecycle.load_up(cluster_name).cluster
    node = node_named(node_name)
    known = [process.name for process in build_processes(cluster, node, NAMES_ONLY)]
    directory = cluster.node_state(node) / "stopped"
    if program not in known or not directory.exists():
        raise ClusterStateError(
            f"the program {program!r} of {node_name!r}",
            expected=f"a node of the cluster, and one of its programs: {', '.join(known)}",
            remedy="`python3 -m local_cluster status` shows nodes and programs",
        )
    return directory
