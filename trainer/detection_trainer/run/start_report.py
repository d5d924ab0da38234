"""Reports the initial state of an attempt, and what changed since the previous one."""

from detection_trainer.checkpoints.manifest import Environment, Manifest
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.reporting.reporter import Reporter
from detection_trainer.run.context import Attempt
from detection_trainer.run.initial_state import InitialState
from detection_trainer.run.startup import StartedRun
from detection_trainer.training.cycles import describe_extension


def report_start(attempt: Attempt, store: CheckpointStore, run: StartedRun) -> None:
    """Report the initial state, then log its origin and what changed."""
    reporter, initial = attempt.reporter, run.initial
    _report_state(reporter, run, store)
    reporter.console.say("started", _start_message(initial), step=initial.step)
    if initial.previous is not None:
        _log_extension(attempt, initial, initial.previous.manifest)
        _log_environment(reporter, initial.previous.manifest.environment, run.environment)


def _report_state(reporter: Reporter, run: StartedRun, store: CheckpointStore) -> None:
    initial = run.initial
    reporter.update(
        step=initial.step,
        resumed_from_step=initial.step,
        classes=run.datasets.classes,
        cycles=initial.cycles,
        restored=initial.restored,
        metrics={} if initial.resumed is None else initial.resumed.record.metrics,
    )
    reporter.checkpoints(store)


def _log_extension(attempt: Attempt, initial: InitialState, before: Manifest) -> None:
    extension = describe_extension(attempt.spec, before.cycles, initial.cycles, initial.step)
    if extension is not None:
        attempt.reporter.console.say("extended", extension, step=initial.step)


def _log_environment(reporter: Reporter, before: Environment, now: Environment) -> None:
    changed = before.differences(now)
    if changed:
        message = f"results may differ in bits from an uninterrupted run: {'; '.join(changed)}"
        reporter.console.say("environmentChanged", message)


def _start_message(initial: InitialState) -> str:
    if initial.resumed is not None:
        return f"resumes from the run's own checkpoint of step {initial.step}"
    restored = initial.restored
    if restored is None:
        return "starts from scratch at step 0"
    counts = f"{restored.variables.restored} variables restored, {restored.variables.fresh} fresh"
    if restored.mode is None:
        return f"continues {restored.uri} at step {initial.step}: {counts}"
    return f"starts at step 0 and restores {restored.uri} (mode {restored.mode}): {counts}"
