"""As much other work as the attacks cause, without any attack."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

PROCESSES = 2
MARK = "other work of the benchmark"
PROGRAM = f"""
# {MARK}
import sys, threading, time
share, ended = float(sys.argv[1]), threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.01 * share:
        pass
    time.sleep(max(0.01 - (time.monotonic() - began), 0))
"""


@contextmanager
def other_work(cores: float) -> Iterator[None]:
    """Keep so many cores busy for as long as the context lasts; PROCESSES at most."""
    share = min(max(cores, 0.0) / PROCESSES, 1.0)
    command = [sys.executable, "-c", PROGRAM, str(share)]
    with ExitStack() as stack:
        for _ in range(PROCESSES):
            # Leaving its block closes its input, at which it ends.
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE))  # noqa: S603 - ours
        yield
