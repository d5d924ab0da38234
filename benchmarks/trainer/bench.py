"""What the questions share: scratch folder, dataset, number of rounds, the programs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.trainer.documents import write_training
from benchmarks.trainer.side import Side, Stretch

SIDES = "benchmarks.trainer.sides"


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the benchmark."""

    folder: Path
    """The scratch folder, removed afterwards."""
    rounds: int
    keras_hub: Callable[[], Path]
    """Returns the Python of KerasHub's environment, made when first needed."""

    @property
    def data(self) -> Path:
        """The folder of the shapes."""
        return self.folder / "data"

    def training(self, name: str, every_steps: int = 1000, **spec: Any) -> Path:
        """Write the training called `name`, with a folder of its own; see `write_training`."""
        return write_training(self.folder / name, self.data, every_steps, **spec)

    def side(self, module: str, training: Path, *options: str) -> Side:
        """Start the program `module` of `sides` on a training."""
        python = self.keras_hub() if module == "keras_hub" else None
        return Side(f"{SIDES}.{module}", [str(training), *options], training.parent, python)


def alternate(sides: Sequence[Side], steps: Sequence[int], rounds: int) -> list[list[Stretch]]:
    """Return the stretches of each side [sides][rounds]; the sides take turns."""
    found: list[list[Stretch]] = [[] for _ in sides]
    for number in range(rounds):
        turns = list(zip(sides, steps, found, strict=True))
        # In alternating order, so that no side always follows the same one.
        for side, stretch, values in turns if number % 2 == 0 else reversed(turns):
            values.append(side.go(stretch))
    return found
