"""A side of a comparison: a program that trains in stretches, controlled from outside."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class SideError(Exception):
    """A side ended too early."""


class Side:
    """One running program of `sides`; its own output is in `log`."""

    def __init__(
        self, module: str, arguments: Sequence[str], folder: Path, python: Path | None = None
    ) -> None:
        """Start `python -m module`; it answers once it is ready."""
        self.name, self.log = module, folder / f"{module}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(  # noqa: S603 - a program of this checkout
                [str(python or sys.executable), "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                env=_environment(),
                text=True,
            )

    def go(self, steps: int) -> "Stretch":
        """Train `steps` steps."""
        before = self._cpu_s()
        answer = self._ask(f"go {steps}")
        cpu_s = self._cpu_s() - before
        return Stretch(steps, answer["seconds"], answer.get("waited_s", 0.0), cpu_s)

    def evaluate(self) -> float:
        """Return the mAP50 of the current weights on the validation set."""
        return float(self._ask("evaluate")["mAP50"])

    def await_answer(self, is_wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """Return the next answer that `is_wanted` accepts.

        Raises:
            SideError: the program ended before.
        """
        while not is_wanted(answer := self._next()):
            pass
        return answer

    def kill(self) -> None:
        """Kill the process by SIGKILL."""
        self._process.kill()
        self.close()

    @property
    def peak_memory_mib(self) -> float:
        """The maximum memory of the process so far."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else float("nan")

    def _cpu_s(self) -> float:
        """Return the processor time of all threads of the process in seconds."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        """Close its standard input, which ends it."""
        with self._process:
            pass

    def _ask(self, command: str) -> Mapping[str, Any]:
        stdin = self._process.stdin
        if stdin is not None and self._process.poll() is None:
            stdin.write(command + "\n")
            stdin.flush()
        return self._next()

    def _next(self) -> Mapping[str, Any]:
        stdout = self._process.stdout
        line = stdout.readline() if stdout is not None else ""
        if not line:
            tail = "\n".join(self.log.read_text().splitlines()[-15:])
            raise SideError(f"{self.name} ended by itself; the end of {self.log}:\n{tail}")
        answer: Mapping[str, Any] = json.loads(line)
        return answer


@dataclass(frozen=True, slots=True)
class Stretch:
    """Steps trained without a pause, and how long they took."""

    steps: int
    seconds: float
    waited_s: float
    """Seconds of these that were spent waiting for data."""
    cpu_s: float
    """Processor time meanwhile, of all threads together."""

    @property
    def steps_per_second(self) -> float:
        """The speed."""
        return self.steps / self.seconds

    @property
    def cpu_ms_a_step(self) -> float:
        """The processor time of one step; it hardly depends on the load of the machine."""
        return 1000.0 * self.cpu_s / self.steps


def _environment() -> dict[str, str]:
    folders = os.pathsep.join(str(ROOT / folder) for folder in ("operator", "trainer", "."))
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"}
    return {**os.environ, **quiet, "PYTHONPATH": folders}
