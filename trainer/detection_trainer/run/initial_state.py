"""Loads the initial state of an attempt: resumed, continued, restored or fresh."""

from dataclasses import dataclass
from functools import partial

from detection_trainer.checkpoints.format import Checkpoint
from detection_trainer.checkpoints.resume_check import require_same_classes
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.report import Restored
from detection_trainer.contract.restore_check import RestorePlan, restored_groups
from detection_trainer.contract.schedule import Cycle
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.reporting.console import Console
from detection_trainer.run.context import Attempt
from detection_trainer.training.cycles import choose_cycles
from detection_trainer.training.start import Continue, Restore, Resume, Scratch, Start
from detection_trainer.training.step import TrainingStep
from detection_trainer.weights.continuation import continued, require_continuable
from detection_trainer.weights.odapi import continuation as odapi
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights
from detection_trainer.weights.restore import restore, weights_digest
from detection_trainer.weights.sources import find_run, open_weights


@dataclass(frozen=True, slots=True)
class InitialState:
    """The state of an attempt before its first step."""

    step: int
    cycles: list[Cycle]
    restored: Restored | None
    resumed: Checkpoint | None
    """The checkpoint from which the attempt resumes; None if the run has none yet."""
    previous: Checkpoint | None
    """The checkpoint whose schedule continues: the run's own, or that of `continueFrom`."""


def load_initial_state(
    start: Start,
    store: CheckpointStore,
    attempt: Attempt,
    classes: list[str],
    update: TrainingStep,
) -> InitialState:
    """Load the state that `start` names into `update`.

    Raises:
        RestoreRefusedError: the source does not match; nothing was assigned.
        DatasetChangedError: the run's checkpoint was trained with other classes.
        CheckpointMissingError: a source is damaged, or its format is unknown.
        NotFoundError: the source does not exist.
    """
    spec, credentials = attempt.spec, attempt.options.credentials
    match start:
        case Resume(step=step):
            checkpoint = _own(store, step)
            require_same_classes(checkpoint.manifest, classes)
            return _load_checkpoint(
                checkpoint, spec, update, checkpoint.manifest.restored, checkpoint
            )
        case Continue(uri=uri):
            found = find_run(uri, credentials, spec.model)
            if isinstance(found, ODAPIWeights):
                return _load_odapi(found, spec, update, len(classes))
            require_continuable(found.manifest, uri, spec, classes)
            provenance = continued(found.manifest, found.folder.uri)
            return _load_checkpoint(found, spec, update, provenance, None)
        case Restore(mode=mode, uri=uri):
            cycles = choose_cycles(spec, None)
            source = open_weights(uri, credentials, spec.model)
            log = partial(_log_variables, attempt.reporter.console)
            restored = restore(update.detector, mode, source, classes, log)
            update.optimizer.start_averages()
            return InitialState(0, cycles, restored, None, None)
        case Scratch():
            update.optimizer.start_averages()
            return InitialState(0, choose_cycles(spec, None), None, None, None)


def _load_checkpoint(
    checkpoint: Checkpoint,
    spec: TrainingSpec,
    update: TrainingStep,
    restored: Restored | None,
    resumed: Checkpoint | None,
) -> InitialState:
    cycles = choose_cycles(spec, checkpoint.manifest.cycles)
    update.load(*checkpoint.load())
    return InitialState(checkpoint.step, cycles, restored, resumed, checkpoint)


def _load_odapi(
    source: ODAPIWeights, spec: TrainingSpec, update: TrainingStep, num_classes: int
) -> InitialState:
    """Load a checkpoint of the OD API; it stores the step but no schedule, so a new one begins."""
    step = odapi.require_continuable(source, spec, num_classes)
    cycles = choose_cycles(spec, None)
    trainable = list(update.detector.trainable_by_path)
    weights, slots = odapi.load_state(source, step, trainable, update.optimizer.variables)
    update.load(weights, slots)
    provenance = odapi.provenance(source, weights_digest(weights))
    return InitialState(step, cycles, provenance, None, None)


def _log_variables(console: Console, plan: RestorePlan) -> None:
    """Log all variables in the JSON line; a terminal shows only the summary."""
    groups = ", ".join(restored_groups(plan.mode))
    message = (
        f"restores {len(plan.assign)} variables ({groups}); {len(plan.fresh)} have fresh values: "
        "`detection-trainer preflight` lists them"
    )
    console.say("restored", message, restored=plan.assign, fresh=plan.reasons)


def _own(store: CheckpointStore, step: int) -> Checkpoint:
    checkpoint = store.at(step)
    if checkpoint is None:
        raise LookupError(f"the start decision names step {step}, which is not in the storage")
    return checkpoint
