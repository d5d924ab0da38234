"""Where the first weights come from: the training that `restore` or `continueFrom` refers to.

Evaluated until the first checkpoint is committed; after that the source may be deleted.
"""

from datetime import timedelta

from detection_operator import names
from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import CheckpointStatus, Spec, Status
from detection_operator.core.actions import RestoreFrom
from detection_operator.core.case import Case, Standing, checkpoint_claim, newest_step
from detection_operator.core.policies import source_fits
from detection_trainer.contract.sources import TrainingRef

SOURCE_GRACE_S = 30.0
"""One manifest may contain both trainings: the source is created a moment later, not missing."""
FINISHED_PHASES = frozenset({Phase.COMPLETE, Phase.FAILED, Phase.REFUSED})


def reference_of(spec: Spec) -> TrainingRef | None:
    """Return the training that `spec` starts from, if it refers to one."""
    if spec.restore is not None:
        return spec.restore.from_.training_ref
    return spec.continue_from.training_ref if spec.continue_from is not None else None


def resolve(case: Case) -> Standing | RestoreFrom | None:
    """Return the checkpoint to start from, or why there is none yet; None if none is requested."""
    reference = reference_of(case.spec)
    if reference is None or newest_step(case.status) is not None:
        return None
    if reference.name == case.identity.name:
        message = (
            f"trainingRef names this training itself ({reference.name!r}), which resumes without "
            "it when spec.steps rises: name another training."
        )
        return Standing(Phase.REFUSED, Reason.SOURCE_NOT_FOUND, message)
    source = case.observed.source
    if source is None or not source.found or source.name != reference.name:
        return _missing(case, reference)
    if source.spec is None or source.status is None:
        message = f"The spec of training {reference.name!r} is invalid: correct that spec first."
        return Standing(Phase.REFUSED, Reason.SOURCE_HAS_NO_CHECKPOINT, message)
    misfit = source_fits.refuse_unfit_source(case.spec, source.name, source.spec, source.status)
    chosen = misfit or _checkpoint(reference, source.spec, source.status)
    if isinstance(chosen, Standing):
        return chosen
    return source_fits.refuse_reached_steps(case.spec, source.name, chosen.step) or chosen


def _missing(case: Case, reference: TrainingRef) -> Standing:
    appears = case.observed.training.created_at + timedelta(seconds=SOURCE_GRACE_S)
    message = (
        f"No DetectionTraining {reference.name!r} in namespace {case.identity.namespace!r}: create "
        "it, or correct trainingRef.name. This training starts once the source exists."
    )
    if case.now < appears:
        wait = (appears - case.now).total_seconds()
        return Standing(Phase.PENDING, Reason.WAITING_FOR_SOURCE, message, recheck_after_s=wait)
    return Standing(Phase.REFUSED, Reason.SOURCE_NOT_FOUND, message)


def _checkpoint(reference: TrainingRef, spec: Spec, status: Status) -> Standing | RestoreFrom:
    name, finished = reference.name, status.phase in FINISHED_PHASES
    chosen = _choose(reference, status)
    if chosen is None:
        wanted = "a checkpoint" if reference.step is None else f"a checkpoint of {reference.step}"
        if finished:
            return Standing(
                Phase.REFUSED,
                Reason.SOURCE_HAS_NO_CHECKPOINT,
                f"Training {name!r} is {status.phase} and does not have {wanted} "
                f"({_held(status)}): name another training or step.",
            )
        return _wait(f"Waiting until training {name!r} has {wanted} ({_held(status)}).")
    # The user does not mean the newest or best checkpoint of a training that still runs.
    if reference.step is None and not finished:
        return _wait(
            f"Waiting until training {name!r} is complete (it is {status.phase}, {_held(status)}) "
            f"to use its {reference.select.lower()} checkpoint. To start from a checkpoint that it "
            "already has, set trainingRef.step."
        )
    claim = checkpoint_claim(name, spec)
    uri = chosen.uri if claim is None else _mounted(chosen.uri, name)
    return RestoreFrom(uri, chosen.step, claim)


def _choose(reference: TrainingRef, status: Status) -> CheckpointStatus | None:
    known = [c for c in (status.latest_checkpoint, status.best_checkpoint) if c is not None]
    if reference.step is not None:
        return next((c for c in [*status.checkpoints, *known] if c.step == reference.step), None)
    if reference.select == "Best" and status.best_checkpoint is not None:
        return status.best_checkpoint
    return status.latest_checkpoint


def _wait(message: str) -> Standing:
    return Standing(Phase.PENDING, Reason.WAITING_FOR_SOURCE, message)


def _held(status: Status) -> str:
    steps = [str(checkpoint.step) for checkpoint in status.checkpoints]
    return f"it has steps {', '.join(steps)}" if steps else "it has none"


def _mounted(uri: str, source: str) -> str:
    """Return the URI in this training's pods of a checkpoint on a source's claim."""
    inside = uri.removeprefix(f"file://{names.CHECKPOINTS_MOUNT}").lstrip("/")
    return f"file://{names.SOURCES_MOUNT}/{source}/{inside}"
