"""Chooses where an attempt begins: pure, from the manifests alone.

Called by `attempt` with the checkpoints in the run's folder.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from detection_trainer.checkpoints.candidate import Candidate
from detection_trainer.contract.report import SkippedCheckpoint
from detection_trainer.contract.sources import ContinueSource, RestoreMode, RestoreSource
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.contract.training import start_problem
from detection_trainer.errors import CheckpointMissingError, InvalidConfigError


@dataclass(frozen=True, slots=True)
class Resume:
    """Resume from the run's checkpoint of `step`; damaged newer ones were skipped."""

    step: int
    skipped: tuple[SkippedCheckpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Continue:
    """Continue another run with its step, optimizer, schedule and data position."""

    uri: str


@dataclass(frozen=True, slots=True)
class Restore:
    """Begin at step 0 with weights from a source."""

    mode: RestoreMode
    uri: str


@dataclass(frozen=True, slots=True)
class Scratch:
    """Begin at step 0 with fresh weights."""


Start = Resume | Continue | Restore | Scratch


def choose_start(
    own: Sequence[Candidate], spec: TrainingSpec, recorded_step: int | None = None
) -> Start:
    """Return where the attempt begins.

    1. From the newest valid checkpoint of the run: a resume always wins over a restore.
    2. Never from zero if the run had a checkpoint.
    3. From `continueFrom`, else from `restore`, if the run has no checkpoint yet.
    4. From scratch.

    Args:
        own: committed checkpoints in the folder, newest first; the list may end at a valid one.
        spec: the training.
        recorded_step: the step of a checkpoint that the status records for this folder, if any.

    Raises:
        CheckpointMissingError: checkpoints exist or were recorded, and none is valid.
        InvalidConfigError: the source is a reference that is not resolved.
    """
    newest_first = sorted(own, key=lambda candidate: candidate.step, reverse=True)
    skipped: list[SkippedCheckpoint] = []
    for candidate in newest_first:
        if candidate.problem is None:
            return Resume(step=candidate.step, skipped=tuple(skipped))
        skipped.append(SkippedCheckpoint(step=candidate.step, problem=candidate.problem[:1024]))
    if skipped:
        raise CheckpointMissingError(_none_is_valid(skipped))
    if recorded_step is not None:
        msg = (
            f"the checkpoint folder has no checkpoint, but step {recorded_step} is recorded: "
            "restore the folder, or create a new training to start at step 0"
        )
        raise CheckpointMissingError(msg)
    if spec.continue_from is not None:
        return Continue(uri=_resolved(spec.continue_from, "continueFrom"))
    if spec.restore is not None:
        return Restore(mode=spec.restore.mode, uri=_resolved(spec.restore.from_, "restore.from"))
    return Scratch()


def require_startable(spec: TrainingSpec) -> None:
    """Check what only a first start must satisfy: a run with checkpoints resumes in any case.

    Raises:
        InvalidConfigError: the spec must not be started.
    """
    problem = start_problem(spec)
    if problem is not None:
        raise InvalidConfigError(problem)


def _none_is_valid(skipped: Sequence[SkippedCheckpoint]) -> str:
    problems = "; ".join(f"step {s.step}: {s.problem}" for s in skipped[:5])
    return (
        f"none of the {len(skipped)} checkpoints in the folder is valid ({problems}): restore one "
        "of them, or create a new training to start at step 0"
    )


def _resolved(source: RestoreSource | ContinueSource, field: str) -> str:
    if source.uri is not None:
        return source.uri
    name = source.training_ref.name if source.training_ref else ""
    msg = (
        f"{field}.trainingRef {name!r} can be resolved only in a cluster: set {field}.uri to the "
        "address of a checkpoint; `detection-trainer checkpoints ls` prints it"
    )
    raise InvalidConfigError(msg)
