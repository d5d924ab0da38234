"""Whose processor time it was: on two cores, attackers and attacked share them."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from benchmarks.hostile.other_work import MARK

TICKS = os.sysconf("SC_CLK_TCK")
SAMPLE_S = 0.25
PROGRAMS = {
    "attackers": "Runs in a hostile pod",
    "operator": "detection_operator",
    "trainer": "detection_trainer",
    "API server": "kube-apiserver --",
    "etcd": "etcd --data-dir",
    "other work": MARK,
}
"""By what their command lines hold; the first that fits."""


class Processors:
    """Adds up the processor time of each program; of one that ends, up to its last sample."""

    def __init__(self) -> None:
        """Count nothing yet."""
        self.ticks: Counter[str] = Counter()
        self.elapsed_s = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count for as long as the context lasts."""
        ended, began = Event(), time.monotonic()
        first, last = _sample(), dict[int, tuple[str, int]]()

        def watch() -> None:
            while not ended.wait(SAMPLE_S):
                last.update(_sample())

        thread = Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            last.update(_sample())
            self.elapsed_s += time.monotonic() - began
            for pid, (program, ticks) in last.items():
                self.ticks[program] += ticks - first.get(pid, ("", 0))[1]

    def share(self, program: str) -> float:
        """Return how many cores a program took in the mean."""
        return self.ticks[program] / TICKS / self.elapsed_s

    def beside(self, program: str) -> float:
        """Return how many cores all other programs took in the mean."""
        return (self.ticks.total() - self.ticks[program]) / TICKS / self.elapsed_s


def _sample() -> dict[int, tuple[str, int]]:
    """Return the program and the ticks so far of each process, by its number."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (OSError, UnicodeDecodeError):
                continue
            ticks = int(fields[11]) + int(fields[12])
            found[int(folder.name)] = program_of(int(folder.name), command), ticks
    return found


def program_of(pid: int, command: str) -> str:
    """Return whose process it is."""
    if pid == os.getpid():
        return "attackers"
    return next((name for name, text in PROGRAMS.items() if text in command), "others")
