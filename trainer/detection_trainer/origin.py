"""Puts an attempt's first state in place: resumed, continued, restored or fresh."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detection_trainer.attempt import Beginning
from detection_trainer.checkpoint import Checkpoint, CheckpointWeights, find_checkpoint
from detection_trainer.continuation import continued, require_continuable
from detection_trainer.contract.report import Restored
from detection_trainer.contract.schedule import Cycle
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.cycles import choose_cycles
from detection_trainer.restore import Weights, keras_weights, restore
from detection_trainer.start import Continue, Restore, Resume, Scratch
from detection_trainer.storage import open_folder
from detection_trainer.store import CheckpointStore
from detection_trainer.training_step import TrainingStep

KERAS_SCHEME = "keras://"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the attempt stands before its first step."""

    step: int
    cycles: list[Cycle]
    restored: Restored | None
    resumed: Checkpoint | None
    """The own checkpoint; None where the run has none yet."""
    came_from: Checkpoint | None
    """The checkpoint whose schedule goes on."""


def take_origin(
    beginning: Beginning,
    spec: TrainingSpec,
    classes: list[str],
    update: TrainingStep,
    credentials: Mapping[str, Path],
) -> Origin:
    """Put the state that the beginning names in place of `update`'s.

    Raises:
        RestoreRefusedError: the source does not fit; nothing was assigned.
        CheckpointMissingError: a source is damaged, or of another format.
        NotFoundError: there is no source.
    """
    match beginning.start:
        case Resume(step=step):
            checkpoint = _own(beginning.store, step)
            return _go_on(checkpoint, spec, update, checkpoint.manifest.restored, checkpoint)
        case Continue(uri=uri):
            checkpoint = find_checkpoint(open_folder(uri, credentials))
            require_continuable(checkpoint.manifest, uri, spec, classes)
            provenance = continued(checkpoint.manifest, checkpoint.folder.uri)
            return _go_on(checkpoint, spec, update, provenance, None)
        case Restore(mode=mode, uri=uri):
            cycles = choose_cycles(spec, None)
            restored = restore(update.detector, mode, open_weights(uri, credentials), classes)
            return Origin(0, cycles, restored, None, None)
        case Scratch():
            return Origin(0, choose_cycles(spec, None), None, None, None)


def open_weights(uri: str, credentials: Mapping[str, Path]) -> Weights:
    """Return the weights at `uri`: a checkpoint, a run's folder, or `keras://` ones."""
    if uri.startswith(KERAS_SCHEME):
        return keras_weights(uri)
    return CheckpointWeights(find_checkpoint(open_folder(uri, credentials)))


def _go_on(
    checkpoint: Checkpoint,
    spec: TrainingSpec,
    update: TrainingStep,
    restored: Restored | None,
    resumed: Checkpoint | None,
) -> Origin:
    cycles = choose_cycles(spec, checkpoint.manifest.cycles)
    update.load(*checkpoint.load())
    return Origin(checkpoint.step, cycles, restored, resumed, checkpoint)


def _own(store: CheckpointStore, step: int) -> Checkpoint:
    checkpoint = store.at(step)
    if checkpoint is None:
        raise LookupError(f"the start chose step {step}, which the store does not hold")
    return checkpoint
