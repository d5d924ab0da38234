"""The last output of a cluster's programs, for errors and for `status` and `logs`."""

from __future__ import annotations

import collections
import re
from typing import TYPE_CHECKING

from local_cluster.errors import ClusterStateError

if TYPE_CHECKING:
    from pathlib import Path

    from local_cluster.topology import Cluster

LAST_LINE_LENGTH = 300
ENDED = re.compile(r"(\S+) ended with (-?\d+)")


def count_ends(init_log: str) -> dict[str, int]:
    """Return how often each program ended by itself, from the log of a node's process 1."""
    return dict(collections.Counter(match[1] for match in ENDED.finditer(init_log)))


def read_last_line(log: Path) -> str:
    """Return the last line of a log that is not blank."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "(no log)"
    written = [line.strip() for line in lines if line.strip()]
    return written[-1][-LAST_LINE_LENGTH:] if written else "(an empty log)"


def describe_failures(cluster: Cluster) -> str:
    """Return one line for each program that keeps ending; empty if none does."""
    lines = []
    for log in sorted(cluster.state.glob("nodes/*/logs/init.log")):
        for program, count in count_ends(log.read_text()).items():
            last_line = read_last_line(log.parent / f"{program}.log")
            node = log.parent.parent.name
            lines.append(
                f"\n    {program} of {node} ended {count} times; its last line: {last_line}"
            )
    return "".join(lines)


def list_stopped(cluster: Cluster, node_name: str) -> list[str]:
    """Return the programs of a node that faults.stop_program has stopped."""
    return sorted(path.name for path in cluster.state.glob(f"nodes/{node_name}/stopped/*"))


def read_log(cluster: Cluster, node_name: str, program: str) -> str:
    """Return the whole log of a program."""
    directory = cluster.state / "nodes" / node_name / "logs"
    known = sorted(path.stem for path in directory.glob("*.log"))
    if program not in known:
        raise ClusterStateError(
            f"the program {program!r} of {node_name!r}",
            expected=f"one with a log: {', '.join(known) or 'none has on this node'}",
            remedy="`python3 -m local_cluster status` names the nodes",
        )
    return (directory / f"{program}.log").read_text(errors="replace")
