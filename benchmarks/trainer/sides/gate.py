"""The gate between two batches of a side's training loop: opened from outside for some steps.

Standard input has `go STEPS` and `evaluate`; standard output has one JSON object for each.
Everything else that a side prints goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf


class Gate:
    """Lets stretches of steps through, and reports how long each took."""

    def __init__(self) -> None:
        """Reserve standard output for the answers."""
        self._answers = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._began = 0.0
        self.evaluate: Callable[[], float] = lambda: 0.0
        """Returns the mAP50 of the current weights on the validation set."""

    def open(self) -> int:
        """Wait for the next stretch and return its steps; the process ends with the input."""
        while command := sys.stdin.readline().split():
            if command[0] == "go":
                self._began = time.perf_counter()
                return int(command[1])
            self._answer(mAP50=self.evaluate())
        os._exit(0)

    def close(self, **figures: float) -> None:
        """End a stretch once the device has finished its work."""
        tf.test.experimental.sync_devices()
        self._answer(seconds=time.perf_counter() - self._began, **figures)

    def batches(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield `batches` in stretches: the step of the last batch belongs to its stretch."""
        iterator = iter(batches)
        while True:
            steps, waited_s = self.open(), 0.0
            for _ in range(steps):
                began = time.perf_counter()
                batch = next(iterator)
                waited_s += time.perf_counter() - began
                yield batch
            self.close(waited_s=waited_s)

    def _answer(self, **figures: float) -> None:
        self._answers.write(json.dumps(figures) + "\n")
