"""The output for people while a command runs: one line per step, and the log of a failed one."""

from __future__ import annotations

import collections
import contextlib
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

from local_cluster.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TERMINAL_REFRESH_S = 1.0
LOG_REFRESH_S = 30.0
KEPT_OUTPUT_LINES = 60


def log_line(text: str) -> None:
    """Write one line for a person; results for programs go to standard output instead."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_result(text: object) -> None:
    """Write one line of a command's result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextlib.contextmanager
def step(label: str) -> Iterator[None]:
    """Show `label` with its elapsed seconds: a counter on a terminal, occasional lines in a log."""
    started = time.monotonic()
    ended = threading.Event()
    on_terminal = sys.stderr.isatty()

    def tick() -> None:
        while not ended.wait(TERMINAL_REFRESH_S if on_terminal else LOG_REFRESH_S):
            line = f"  … {label} {time.monotonic() - started:.0f} s"
            sys.stderr.write(f"\r{line} " if on_terminal else f"{line}\n")
            sys.stderr.flush()

    ticker = threading.Thread(target=tick, daemon=True)
    ticker.start()
    mark = "✗"
    try:
        yield
        mark = "✓"
    finally:
        ended.set()
        ticker.join()
        start, end = ("\r", "   ") if on_terminal else ("", "")
        log_line(f"{start}  {mark} {label} {time.monotonic() - started:.1f} s{end}")


def run(
    command: Sequence[str | Path],
    *,
    label: str,
    remedy: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run `command` as a step and return its output.

    Raises:
        BuildError: it ended non-zero; the last lines of its output are in the message.
    """
    arguments = [str(part) for part in command]
    kept: collections.deque[str] = collections.deque(maxlen=KEPT_OUTPUT_LINES)
    output = []
    with (
        step(label),
        subprocess.Popen(  # noqa: S603 (commands of this package, none from outside)
            arguments,
            cwd=cwd,
            env=dict(env) if env is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            kept.append(line)
            output.append(line)
        code = process.wait()
        if code != 0:
            raise BuildError(
                f"{label}: {arguments[0]} ended with {code}; its last output was:\n"
                + "".join(f"    {line}" for line in kept),
                expected="exit code 0",
                remedy=remedy,
            )
    return "".join(output)
