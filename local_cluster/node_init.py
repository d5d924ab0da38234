"""Process 1 of a node: its mounts and addresses, then its programs, until it is killed.

lifecycle.py starts it in its own mount, network, PID, IPC and UTS namespaces, with the plan of the
node as a file. It needs no orderly shutdown: killing it ends every process of the node, and then
its mounts and interfaces vanish.
"""

from __future__ import annotations

import contextlib
import http
import json
import os
import resource
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cluster import shell

TICK_S = 0.1
LINK_POLL_S = 0.02
LINK_TIMEOUT_S = 60.0
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
    not_before: float = 0.0
    is_stopping: bool = False


def main() -> None:
    """Wait for the network link, prepare the node, supervise forever."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    # The file appears when the other side has created this node's link.
    deadline = time.monotonic() + LINK_TIMEOUT_S
    while not Path(plan["linked"]).exists():
        if time.monotonic() > deadline:
            sys.exit(f"no network link within {LINK_TIMEOUT_S:.0f} s")
        time.sleep(LINK_POLL_S)
    for command in plan["setup"]:
        done = shell.capture(command)
        if done.returncode != 0:
            sys.exit(f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}")
    protect_sysctls(Path("/run/kubelet-sysctls"))
    Path(plan["prepared"]).touch()
    with contextlib.suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    supervise(plan)


def protect_sysctls(copies: Path) -> None:
    """Cover each setting of the host that the kubelet changes at its start with a copy."""
    copies.mkdir()
    for name in KUBELET_SYSCTLS:
        setting = Path("/proc/sys", name)
        if setting.exists():
            copy = copies / name.replace("/", ".")
            copy.write_text(setting.read_text())
            shell.capture(["mount", "--bind", copy, setting], check=True)


def supervise(plan: dict[str, Any]) -> None:
    """Keep every program running, except those with a file of their name in `stopped`."""
    logs, stopped = Path(plan["logs"]), Path(plan["stopped"])
    programs = [Supervised(**entry) for entry in plan["processes"]]
    is_ready = False
    while True:
        reap(programs)
        is_ready = is_ready or is_api_ready(plan["api_url"])
        for program in programs:
            must_stop = (stopped / program.name).exists()
            if must_stop and program.process:
                program.is_stopping = True
                program.process.kill()
            elif program.process is None and not must_stop and (is_ready or not program.after_api):
                start(program, logs)
        time.sleep(TICK_S)


def start(program: Supervised, logs: Path) -> None:
    """Start `program` with its output appended to its log, unless it ended a moment ago."""
    if time.monotonic() < program.not_before:
        return
    with (logs / f"{program.name}.log").open("ab") as log:
        program.process = subprocess.Popen(  # noqa: S603 (lifecycle.py wrote the plan)
            program.arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def reap(programs: list[Supervised]) -> None:
    """Collect ended children, including orphans of containers."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        for program in programs:
            if program.process and program.process.pid == pid:
                code = program.process.returncode = os.waitstatus_to_exitcode(status)
                program.process = None
                if not program.is_stopping:
                    sys.stdout.write(f"{program.name} ended with {code}\n")
                program.is_stopping = False
                program.not_before = time.monotonic() + RESTART_DELAY_S


def is_api_ready(url: str) -> bool:
    """Return whether the API server answers at /readyz; its identity is not checked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(f"{url}/readyz", timeout=READY_TIMEOUT_S) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    main()
