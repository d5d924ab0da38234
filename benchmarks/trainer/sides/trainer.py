"""The trainer itself: `detection-trainer run ARGUMENTS`, with a gate before its batches."""

import importlib
import sys
from pathlib import Path
from typing import Any

from detection_trainer import __main__
from detection_trainer.contract.training import read_training
from detection_trainer.run.process import prepare_process


def main(arguments: list[str]) -> int:
    """Train the document that the first of `arguments` names."""
    prepare_process()  # Like `run`, before the imports of TensorFlow.
    from benchmarks.trainer.sides.gate import Gate  # noqa: PLC0415
    from benchmarks.trainer.sides.pipeline import validation_score  # noqa: PLC0415

    startup: Any = importlib.import_module("detection_trainer.run.startup")
    gate, spec = Gate(), read_training(Path(arguments[0])).spec
    build, batches = startup.build_training_step, startup.training_batches

    def build_training_step(*given: Any) -> Any:
        update = build(*given)
        gate.evaluate = validation_score(update.detector, spec)
        return update

    def training_batches(*given: Any) -> Any:
        return gate.batches(batches(*given))

    for replacement in (build_training_step, training_batches):
        setattr(startup, replacement.__name__, replacement)
    return __main__.main(["run", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
