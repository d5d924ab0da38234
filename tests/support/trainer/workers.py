"""Several workers of one training as processes on loopback."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.processes.addresses import free_addresses
from sandbox.samples.trainings import training
from tests.support.trainer.attempts import RunPlace

DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True)
class Worker:
    """One process and its log."""

    process: subprocess.Popen[bytes]
    output: Path

    def wait(self) -> int:
        """Return its exit code."""
        return self.process.wait(DEADLINE_S)

    def wait_for(self, event: str, step: int) -> None:
        """Wait until it logs `event` at `step` or a later one."""
        deadline = time.monotonic() + DEADLINE_S
        while not any(line.get("step", -1) >= step for line in self.logged(event)):
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Return its log lines of `event`."""
        lines = [text for text in self.output.read_text().splitlines() if text.startswith("{")]
        events = [json.loads(text) for text in lines if text.endswith("}")]
        return [line for line in events if line["event"] == event]


@contextmanager
def two_workers(place: RunPlace, folder: str, **changes: Any) -> Iterator[tuple[Worker, Worker]]:
    """Start both workers of the training in `folder`; they are killed at the end."""
    file = place.root / f"{folder}.json"
    file.write_text(json.dumps(training(**{**place.spec(folder), "workers": 2, **changes})))
    cluster = {"worker": free_addresses(2)}
    with ExitStack() as stack:
        started = [
            Worker(
                stack.enter_context(_start(file, {"cluster": cluster, "task": task}, output)),
                output,
            )
            for index in (0, 1)
            for task in [{"type": "worker", "index": index}]
            for output in [file.with_suffix(f".{index}.log")]
        ]
        try:
            yield started[0], started[1]
        finally:
            for worker in started:
                worker.process.kill()


def _start(file: Path, tf_config: dict[str, Any], output: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "detection_trainer", "run", str(file), "--report-period", "0"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TF_CONFIG": json.dumps(tf_config),
    }
    with output.open("wb") as out:
        return subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, env=environment)
