"""Nodes as processes of the host: starts, finds and kills their process 1.

A node is one process tree in its own namespaces. Later nodes begin inside the first one's PID
namespace, so that killing its process 1 ends the whole cluster at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local_cluster import shell
from local_cluster.errors import ComponentError, MachineError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

    from local_cluster.topology import Cluster, Node

NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts")
START_TIMEOUT_S = 30.0
END_TIMEOUT_S = 30.0
POLL_S = 0.02
PROCESSES = Path("/proc")
# A shell that `su` without `-` started lacks these on its path.
SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
DETACH = 'setsid "$@" >>"$0" 2>&1 & echo $!'
SOURCE_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process; its start time distinguishes it from a later one with the same number."""

    pid: int
    started: int


def read_start_time(pid: int) -> int | None:
    """Return when process `pid` started, in clock ticks since boot; None if it does not exist."""
    try:
        stat = Path("/proc", str(pid), "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(process: ProcessIdentity | None) -> bool:
    """Return whether exactly this process still runs."""
    return process is not None and read_start_time(process.pid) == process.started


def build_launch(plan: Path, parent: ProcessIdentity | None) -> list[str]:
    """Return the command that starts a node's process 1 below `parent`, or below the host."""
    inside = ["nsenter", "--target", str(parent.pid), "--net", "--pid"] if parent else []
    return [
        *inside,
        *("unshare", *NAMESPACES, "--fork", "--mount-proc", "--"),
        *(sys.executable, "-m", "local_cluster.node_init", str(plan)),
    ]


def launch(plan: Path, log: Path, parent: ProcessIdentity | None) -> int:
    """Start a node detached from this process and its terminal; return the launcher's PID."""
    path = ":".join([os.environ["PATH"], *SYSTEM_DIRECTORIES])
    environment = {"PATH": path, "HOME": str(Path.home()), "PYTHONUNBUFFERED": "1"}
    command = ["sh", "-c", DETACH, str(log), *build_launch(plan, parent)]
    done = shell.capture(command, check=True, cwd=SOURCE_ROOT, env=environment)
    return int(done.stdout)


def find_init(launcher: int, log: Path) -> ProcessIdentity:
    """Return the process 1 that `launcher` started: its last descendant, running Python."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and read_start_time(launcher) is not None:
        pid = launcher
        while children := read_children(pid):
            pid = children[0]
        started = read_start_time(pid)
        if started is not None and is_node_init(pid):
            return ProcessIdentity(pid, started)
        time.sleep(POLL_S)
    raise MachineError(
        f"the node's namespaces did not come up: {log.read_text()[-2000:].strip()}",
        expected="a kernel with mount, network, PID, IPC and UTS namespaces, "
        "and the right to make them",
        remedy="run on a machine or in a container that allows "
        f"`unshare {' '.join(NAMESPACES)}` for root",
    )


def wait_until_prepared(process: ProcessIdentity, prepared: Path, log: Path) -> None:
    """Wait until a node has its mounts and addresses: it then writes the file `prepared`."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and is_alive(process):
        if prepared.exists():
            return
        time.sleep(POLL_S)
    raise MachineError(
        f"the node could not set up its mounts and addresses: {log.read_text()[-2000:].strip()}",
        expected="the right to mount and to set addresses in namespaces of its own",
        remedy="run on a machine or in a privileged container that allows it for root",
    )


def is_node_init(pid: int) -> bool:
    """Return whether `pid` runs node_init as process 1 of its PID namespace."""
    try:
        command = Path("/proc", str(pid), "cmdline").read_bytes()
        status = Path("/proc", str(pid), "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
    return b"local_cluster.node_init" in command and numbers[-1] == "1"


def has_packet_queue(pid: int, queue: int) -> bool:
    """Return whether a program reads the packet queue `queue` in the namespace of process `pid`."""
    try:
        text = (PROCESSES / str(pid) / "net/netfilter/nfnetlink_queue").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return any(line.split()[0] == str(queue) for line in text.splitlines())


def read_children(pid: int) -> list[int]:
    """Return the children of `pid` in the order of their start."""
    try:
        text = Path("/proc", str(pid), "task", str(pid), "children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def kill(process: ProcessIdentity) -> None:
    """Kill a node's process 1, and return when its whole tree is gone."""
    if not is_alive(process):
        return
    os.kill(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + END_TIMEOUT_S
    while time.monotonic() < deadline:
        if not is_alive(process):
            return
        time.sleep(POLL_S)
    raise ComponentError(
        f"process {process.pid} is still there {END_TIMEOUT_S:.0f} s after SIGKILL",
        expected="its namespaces to be torn down",
        remedy="look for processes in state D (`ps axo pid,stat,wchan:30,cmd`)",
    )


def remove_link(name: str) -> None:
    """Remove the host's end of a link, and return when its address is free.

    The kernel removes it too, but some time after the namespace of the other end is gone.
    """
    deadline = time.monotonic() + END_TIMEOUT_S
    while name in {interface for _, interface in socket.if_nameindex()}:
        problem = shell.capture(["ip", "link", "delete", name]).stderr.strip()
        if time.monotonic() > deadline:
            raise ComponentError(
                f"the network interface {name} cannot be removed: {problem}",
                expected="it gone with the cluster",
                remedy=f"`ip link delete {name}`",
            )


def run_inside(
    process: ProcessIdentity, command: Sequence[str], *, net_only: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run `command` in the namespaces of a node, or only in its network namespace."""
    kinds = ["--net"] if net_only else ["--mount", "--net", "--pid", "--ipc", "--uts"]
    return shell.capture(["nsenter", "--target", str(process.pid), *kinds, "--", *command])


def build_link_commands(cluster: Cluster, node: Node, init_pid: int) -> list[list[str]]:
    """Return the commands that link `node` to the host, or to the first node when run inside it."""
    name = cluster.host_link if node.is_control_plane else node.name
    peer = ["peer", "name", "eth0", "netns", str(init_pid)]
    commands = [
        ["ip", "link", "add", name, "type", "veth", *peer],
        ["ip", "link", "set", name, "up"],
    ]
    if node.is_control_plane:
        prefix = cluster.subnet.prefixlen
        return [
            *commands,
            ["ip", "address", "add", f"{cluster.host_address}/{prefix}", "dev", name],
        ]
    address = cluster.node_address(node)
    return [
        *commands,
        ["ip", "route", "add", address, "dev", name],
        ["ip", "route", "add", str(node.pods_range), "via", address, "dev", name, "onlink"],
    ]
