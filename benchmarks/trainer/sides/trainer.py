"""The trainer itself: `detection-trainer run ARGUMENTS`, with a gate before its batches."""

import importlib
import sys
from pathlib import Path
from typing import Any

from benchmarks.trainer.sides.gate import Gate
from benchmarks.trainer.sides.pipeline import validation_score
from detection_trainer import __main__
from detection_trainer.contract.training import read_training


def main(arguments: list[str]) -> int:
    """Train the document that the first of `arguments` names."""
    gate, spec = Gate(), read_training(Path(arguments[0])).spec
    session: Any = importlib.import_module("detection_trainer.session")
    build, batches = session.build_update, session.training_batches

    def build_update(*given: Any) -> Any:
        update = build(*given)
        gate.evaluate = validation_score(update.detector, spec)
        return update

    def training_batches(*given: Any) -> Any:
        return gate.batches(batches(*given))

    for replacement in (build_update, training_batches):
        setattr(session, replacement.__name__, replacement)
    return __main__.main(["run", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
