"""The run of every worker except the chief: the same steps with its own rows.

It does not save, evaluate or report: the chief does that.
"""

from functools import partial

from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from detection_trainer.contract.schedule import learning_rate
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.distributed.rendezvous import Decision, join
from detection_trainer.run.context import Attempt
from detection_trainer.run.early_stopping import is_judged
from detection_trainer.run.outcome import outcome_of
from detection_trainer.run.startup import Inputs, StartedRun, open_inputs, started_run
from detection_trainer.stop import StopRequested
from detection_trainer.storage import open_folder
from detection_trainer.training.start import Resume, choose_start


def run_worker(attempt: Attempt) -> Outcome:
    """Train until the chief's target, or until all agree to stop; returns the outcome.

    Raises:
        PeerLostError: another worker ended or did not connect.
        TrainerError: the attempt fails.
    """
    cluster = attempt.options.cluster
    try:
        inputs = open_inputs(attempt)
        log = partial(attempt.reporter.console.say, "waits")
        decision = join(cluster, attempt.subject, log=log)
        if decision.done:
            return outcome_of(ExitCode.COMPLETED, decision.done)
        return _train_along(attempt, inputs, decision)
    except StopRequested:
        message = f"worker {cluster.index} received a stop request; worker 0 saves"
        return outcome_of(ExitCode.SAVED, message)


def _train_along(attempt: Attempt, inputs: Inputs, decision: Decision) -> Outcome:
    """Start at the step that the chief decided, and take the chief's steps."""
    spec, options, cluster = attempt.spec, attempt.options, attempt.options.cluster
    folder = open_folder(options.checkpoint_folder(spec), options.credentials)
    store = CheckpointStore(folder, spec.checkpoints)
    start = choose_start([], spec) if decision.step is None else Resume(decision.step)
    with started_run(attempt, inputs, start, store) as run:
        step = run.initial.step
        message = f"worker {cluster.index} of {cluster.size} starts at step {step}"
        attempt.reporter.console.say("started", message, step=step)
        with run.distribution.ending_together():
            _take_steps(spec, run)
    message = f"worker {cluster.index} reached step {spec.steps} of {spec.steps}"
    return outcome_of(ExitCode.COMPLETED, message)


def _take_steps(spec: TrainingSpec, run: StartedRun) -> None:
    """Take the same steps as the chief's loop, and agree with it where the run may end."""
    initial, distribution = run.initial, run.distribution
    for step in range(initial.step, spec.steps):
        if is_judged(spec, step, initial.step) and distribution.agree(0.0) > 0:
            return
        distribution.raise_if_requested()
        rate = learning_rate(spec.optimizer, initial.cycles, step)
        run.update(next(run.batches), rate, step)
        distribution.defer_signals()
