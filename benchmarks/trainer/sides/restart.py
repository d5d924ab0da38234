"""The trainer itself, which reports after its first step where the time since its start went.

Prints the trainer's own JSON lines, and one with `stages`: seconds by name.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from detection_trainer.run.process import prepare_process

_STARTED = time.time()


class Stages:
    """Seconds by name of stage."""

    def __init__(self, killed_at: float) -> None:
        """Count from `killed_at`, a time of `time.time()`."""
        self._killed_at = killed_at
        self.seconds = {"process": _STARTED - killed_at}

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function` with its time counted as `stage`."""

        def wrapped(*given: Any, **named: Any) -> Any:
            began = time.time()
            try:
                return function(*given, **named)
            finally:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + time.time() - began

        return wrapped

    def until_second(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield `batches`; a request for the second ends the first step and prints the stages."""
        iterator = iter(batches)
        yield self.timed("data", next)(iterator)
        total = time.time() - self._killed_at
        known = sum(self.seconds.values())
        stages = {**self.seconds, "other": total - known, "total": total}
        sys.stdout.write(json.dumps({"stages": stages}) + "\n")
        sys.stdout.flush()
        yield from iterator


def main(file: str, killed_at: str) -> int:
    """Train the document in `file`; the process before it was killed at `killed_at`."""
    stages = Stages(float(killed_at))
    prepare_process()  # Like `run`, before the imports of TensorFlow.
    importing = stages.timed("import", __import__)
    importing("detection_trainer.run.session")
    startup: Any = sys.modules["detection_trainer.run.startup"]
    from detection_trainer import __main__  # noqa: PLC0415 - the import above is measured
    from detection_trainer.training.step import TrainingStep  # noqa: PLC0415 - likewise

    for stage, name in (
        ("data", "open_datasets"),
        ("build", "build_training_step"),
        ("restore", "load_initial_state"),
        ("data", "training_batches"),
    ):
        setattr(startup, name, stages.timed(stage, getattr(startup, name)))
    batches = startup.training_batches
    startup.training_batches = lambda *given: stages.until_second(batches(*given))
    first_step = stages.timed("compile", TrainingStep.__call__)
    TrainingStep.__call__ = first_step  # type: ignore[method-assign]
    return __main__.main(["run", file])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
