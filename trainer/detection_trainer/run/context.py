"""Values that the parts of an attempt share, without rules.

Every module of `run/` may import them, so that none has to import its caller.
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
    """Returns the current time with a time zone."""

    def __call__(self) -> datetime:
        """Return the current time."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The inputs of one trainer start."""

    training: Training
    options: Options
    reporter: Reporter
    stop: StopSignal
    clock: Clock

    @property
    def spec(self) -> TrainingSpec:
        """The spec of the training."""
        return self.training.spec

    @property
    def subject(self) -> str:
        """The identity of the training and its configuration, equal on all workers."""
        identity, digest = self.training.identity, config_digest(self.spec)
        return f"{identity.namespace}/{identity.name} to step {self.spec.steps}, {digest[:19]}"


@dataclass(frozen=True, slots=True)
class Beginning:
    """The run's folder, this trainer's fence, and its initial state.

    Only the chief has one, because the other workers do not write.
    """

    store: CheckpointStore
    fence: Fence
    start: Start

    @property
    def resumed(self) -> Checkpoint | None:
        """The checkpoint from which the attempt resumes; None if it does not resume."""
        return self.store.at(self.start.step) if isinstance(self.start, Resume) else None
