"""A process whose clock jumps: the wall clock follows, the monotonic one does not."""

import os
import subprocess
import sys
from pathlib import Path

from sandbox.faults.clock import Clock

PROGRAM = """
import sys, time
for line in sys.stdin:
    print(time.time(), time.monotonic(), flush=True)
"""


def read(process: subprocess.Popen[str]) -> tuple[float, float]:
    """Return what the process reads from both."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    wall, monotonic = map(float, process.stdout.readline().split())
    return wall, monotonic


def test_the_wall_clock_jumps_while_the_process_runs_and_the_monotonic_one_does_not(
    tmp_path: Path,
) -> None:
    clock, pipe = Clock.right(tmp_path), subprocess.PIPE
    environment = {**os.environ, **clock.environment}
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        right = read(process)
        clock.set(3600)
        fast = read(process)
        clock.set(-3600)
        slow = read(process)
    assert 3600 <= fast[0] - right[0] < 3700
    assert -3600 <= slow[0] - right[0] < -3500
    assert 0 <= slow[1] - right[1] < 100
