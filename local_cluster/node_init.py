"""Process 1 of a node: its mounts and addresses, then its programs, until it is killed.

lifecycle.py starts it in mount, network, PID, IPC and UTS namespaces of its own, with
the plan of the node as a file. It needs no orderly end: killing it ends every process
of the node, and with the last of them go its mounts and interfaces.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TICK_S = 0.1
RESTART_DELAY_S = 1.0
OPEN_FILES = 1 << 20
READY_TIMEOUT_S = 2.0
KUBELET_SYSCTLS = (
    *("vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops"),
    *("kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes"),
)


@dataclass(slots=True)
class Supervised:
    """A program of the plan, and its process while it runs."""

    name: str
    arguments: list[str]
    after_api: bool
    process: subprocess.Popen[bytes] | None = None
    not_before: float = field(default=0.0)


def main() -> None:
    """Wait for the network link, prepare the node, supervise for ever."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    # The line comes when the other side has put this node's link in place.
    sys.stdin.readline()
    for command in plan["setup"]:
        subprocess.run(command, check=True)
    protect_sysctls(Path("/run/kubelet-sysctls"))
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    supervise(plan)


def protect_sysctls(copies: Path) -> None:
    """Put a copy over each setting of the host that the kubelet changes at its start."""
    copies.mkdir()
    for name in KUBELET_SYSCTLS:
        setting = Path("/proc/sys", name)
        if setting.exists():
            copy = copies / name.replace("/", ".")
            copy.write_text(setting.read_text())
            subprocess.run(["mount", "--bind", copy, setting], check=True)


def supervise(plan: dict[str, Any]) -> None:
    """Keep every program running, except those with a file of their name in `stopped`."""
    logs, stopped = Path(plan["logs"]), Path(plan["stopped"])
    programs = [Supervised(**entry) for entry in plan["processes"]]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    is_ready = False
    while True:
        reap(programs)
        is_ready = is_ready or is_api_ready(plan["api_url"])
        for program in programs:
            must_stop = (stopped / program.name).exists()
            if must_stop and program.process:
                program.process.kill()
            elif program.process is None and not must_stop and (is_ready or not program.after_api):
                start(program, logs)
        signal.sigtimedwait({signal.SIGCHLD}, TICK_S)


def start(program: Supervised, logs: Path) -> None:
    """Start `program`, its output appended to its log, unless it ended a moment ago."""
    if time.monotonic() < program.not_before:
        return
    with (logs / f"{program.name}.log").open("ab") as log:
        program.process = subprocess.Popen(
            program.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=unblock_signals,
        )


def unblock_signals() -> None:
    """Undo this process's mask, which a child would keep."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})


def reap(programs: list[Supervised]) -> None:
    """Collect ended children, orphans of containers among them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for program in programs:
            if program.process and program.process.pid == pid:
                program.process.returncode = os.waitstatus_to_exitcode(status)
                program.process = None
                program.not_before = time.monotonic() + RESTART_DELAY_S


def is_api_ready(url: str) -> bool:
    """Return whether the API server answers at /readyz; who it is matters to its clients."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(f"{url}/readyz", timeout=READY_TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
