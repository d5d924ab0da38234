"""What the parts of an attempt share: values, and no rules.

Every module of `run/` may import these, so that none has to import the module that calls it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from detection_trainer.checkpoints.format import Checkpoint
from detection_trainer.checkpoints.ownership import Fence
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.spec import TrainingSpec, config_digest
from detection_trainer.contract.training import Training
from detection_trainer.options import Options
from detection_trainer.reporting.reporter import Reporter
from detection_trainer.stop import StopSignal
from detection_trainer.training.start import Resume, Start


class Clock(Protocol):
    """Returns the current time, with a zone."""

    def __call__(self) -> datetime:
        """Return now."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one trainer start works with."""

    training: Training
    options: Options
    reporter: Reporter
    stop: StopSignal
    clock: Clock

    @property
    def spec(self) -> TrainingSpec:
        """What is to be trained."""
        return self.training.spec

    @property
    def subject(self) -> str:
        """What all workers must agree to train."""
        identity, digest = self.training.identity, config_digest(self.spec)
        return f"{identity.namespace}/{identity.name} to step {self.spec.steps}, {digest[:19]}"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The run's folder, this trainer's right to write there, and where it begins.

    Only the chief has one: the other workers do not write.
    """

    store: CheckpointStore
    fence: Fence
    start: Start

    @property
    def resumed(self) -> Checkpoint | None:
        """The own checkpoint that the attempt resumes from; None where it does not resume."""
        return self.store.at(self.start.step) if isinstance(self.start, Resume) else None
