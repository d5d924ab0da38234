"""Runs one attempt: owns the folder, chooses the initial state, and trains if needed.

It decides without TensorFlow; `session` and `worker` compute.
"""

from detection_trainer.checkpoints.ownership import Owner, raise_fence, take_ownership
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from detection_trainer.contract.spec import TrainingSpec, config_digest
from detection_trainer.distributed.rendezvous import Decision, gather_all
from detection_trainer.distributed.tf_config import require_cluster
from detection_trainer.exports.export import export_checkpoint, export_folder, list_exports
from detection_trainer.run.context import Attempt, Beginning
from detection_trainer.run.outcome import outcome_of
from detection_trainer.storage import open_folder
from detection_trainer.training.cycles import choose_cycles
from detection_trainer.training.start import Resume, choose_start, require_startable


def run_attempt(attempt: Attempt) -> Outcome:
    """Train until the target is reached and return the outcome.

    Raises:
        TrainerError: the attempt fails; its class gives the exit code.
        StopRequested: a signal requested a stop; the trained steps are committed.
    """
    cluster = attempt.options.cluster
    require_cluster(attempt.spec, cluster)
    if not cluster.is_chief:
        from detection_trainer.run.worker import run_worker  # noqa: PLC0415 - TensorFlow, as below

        return run_worker(attempt)
    beginning = begin(attempt)
    reached = step_reached(attempt.spec, beginning)
    if reached is not None:
        outcome = _report_reached(attempt, beginning, reached)
        # The other workers wait for a decision even if nothing is left to compute.
        gather_all(cluster, attempt.subject, Decision(done=outcome.message))
    else:
        # TensorFlow takes seconds to import, and the code above does not need it.
        from detection_trainer.run.session import run_session  # noqa: PLC0415

        outcome = run_session(attempt, beginning)
    if attempt.spec.exports:
        _export(attempt, beginning)
    return outcome


def begin(attempt: Attempt) -> Beginning:
    """Take ownership of the run's folder, read its checkpoints and choose the initial state.

    Raises:
        StorageInUseError: the folder belongs to another run.
        StorageUnsupportedError: the storage ignores conditional create.
        SupersededError: a later attempt has started.
        CheckpointMissingError: the run had a checkpoint and none is valid now.
        InvalidConfigError: the run has no checkpoint yet, and its spec must not be started.
    """
    spec, options = attempt.spec, attempt.options
    folder = open_folder(options.checkpoint_folder(spec), options.credentials)
    store = CheckpointStore(folder, spec.checkpoints)
    identity, uid = attempt.training.identity, attempt.training.uid
    if options.is_by_hand and not store.checkpoints:
        require_startable(spec)
    take_ownership(
        folder,
        Owner.of(identity, config_digest(spec)),
        manifests=[checkpoint.manifest for checkpoint in store.checkpoints],
        uid=uid,
    )
    fence = raise_fence(folder, options.attempt, attempt.clock(), uid, identity)
    # Only after the fence: an earlier trainer may still write, but can no longer commit.
    store.sweep()
    attempt.reporter.update(attempt=fence.attempt)
    start = choose_start(store.candidates(), spec, options.recorded_step)
    if isinstance(start, Resume):
        attempt.reporter.skipped(start.skipped)
    return Beginning(store=store, fence=fence, start=start)


def step_reached(spec: TrainingSpec, beginning: Beginning) -> int | None:
    """Return the step of the run's checkpoint if nothing is left to compute, else None.

    An evaluation of the last step that was not made is still to be computed.
    """
    if not isinstance(beginning.start, Resume) or beginning.start.step < spec.steps:
        return None
    checkpoint = beginning.store.at(beginning.start.step)
    if checkpoint is None or (spec.dataset.validation is not None and not checkpoint.is_evaluated):
        return None
    return checkpoint.step


def _export(attempt: Attempt, beginning: Beginning) -> None:
    """Export the best checkpoint, else the newest, unless it is exported, and report it."""
    store, fence = beginning.store, beginning.fence
    chosen = store.best or store.checkpoints[0]
    for form in dict.fromkeys(attempt.spec.exports):
        place = export_folder(store.folder, chosen.step, form)
        export = export_checkpoint(chosen, place, fence.check, form)
        attempt.reporter.exported(export, list_exports(store.folder))


def _report_reached(attempt: Attempt, beginning: Beginning, step: int) -> Outcome:
    checkpoint = beginning.store.at(step)
    if checkpoint is not None:
        manifest = checkpoint.manifest
        attempt.reporter.update(
            step=step,
            resumed_from_step=step,
            classes=manifest.classes,
            cycles=choose_cycles(attempt.spec, manifest.cycles),
            restored=manifest.restored,
            metrics=checkpoint.record.metrics,
        )
    attempt.reporter.checkpoints(beginning.store)
    target = attempt.spec.steps
    if step == target:
        message = f"step {target} is already reached; there is nothing to do"
    else:
        message = f"step {step} is beyond the target of {target} steps; the run is complete"
    return outcome_of(ExitCode.COMPLETED, message)
