"""What a worker does that is not the chief: the same steps on its own rows, and nothing else.

It neither saves nor evaluates nor reports: the chief's word is that of all.
"""

from functools import partial

from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from detection_trainer.contract.schedule import learning_rate
from detection_trainer.data.pipeline import explained, training_batches
from detection_trainer.distributed.distribution import (
    Distribution,
    losing_peers,
    start_distribution,
)
from detection_trainer.distributed.rendezvous import Decision, join
from detection_trainer.run.attempt import Attempt
from detection_trainer.run.early_stopping import is_judged
from detection_trainer.run.initial_state import Origin, take_origin
from detection_trainer.run.outcome import outcome_of
from detection_trainer.run.session import Data, build_update, open_data, require_same_state
from detection_trainer.run.tensorflow_setup import prepare_tensorflow
from detection_trainer.stop import StopRequested
from detection_trainer.storage import open_folder
from detection_trainer.training.start import Resume, choose_start
from detection_trainer.training.step import TrainingStep


def follow(attempt: Attempt) -> Outcome:
    """Train along until the chief's target, or until all agree to stop; returns the outcome.

    Raises:
        PeerLostError: another worker has ended or did not come.
        TrainerError: the attempt fails.
    """
    try:
        return _follow(attempt)
    except StopRequested:
        message = f"worker {attempt.options.cluster.index} was asked to stop; worker 0 saves"
        return outcome_of(ExitCode.SAVED, message)


def _follow(attempt: Attempt) -> Outcome:
    spec, cluster = attempt.spec, attempt.options.cluster
    prepare_tensorflow(spec)
    data = open_data(attempt)
    decision = join(cluster, attempt.subject, say=partial(attempt.reporter.console.say, "waits"))
    if decision.done:
        return outcome_of(ExitCode.COMPLETED, decision.done)
    with losing_peers(cluster, attempt.stop):
        distribution = start_distribution(spec, cluster, attempt.stop)
        update = build_update(spec, len(data.classes), distribution)
        origin = _take_origin(attempt, data, decision, update)
        require_same_state(distribution, data, update.snapshot(origin.step))
        message = f"worker {cluster.index} of {cluster.size} begins at step {origin.step}"
        attempt.reporter.console.say("started", message, step=origin.step)
        with distribution.ending_together():
            _train(attempt, data, distribution, update, origin)
    message = f"worker {cluster.index} reached step {spec.steps} of {spec.steps}"
    return outcome_of(ExitCode.COMPLETED, message)


def _take_origin(attempt: Attempt, data: Data, decision: Decision, update: TrainingStep) -> Origin:
    spec, options = attempt.spec, attempt.options
    store = CheckpointStore(
        open_folder(options.checkpoint_folder(spec), options.credentials), spec.checkpoints
    )
    start = choose_start([], spec) if decision.step is None else Resume(decision.step)
    return take_origin(start, store, attempt, data.classes, update)


def _train(
    attempt: Attempt, data: Data, distribution: Distribution, update: TrainingStep, origin: Origin
) -> None:
    spec = attempt.spec
    made = training_batches(data.train, spec, origin.step, distribution.shard)
    batches = explained(made, data.train)
    for step in range(origin.step, spec.steps):
        if is_judged(spec, step, origin.step) and distribution.agree(0.0) > 0:
            return
        distribution.raise_if_requested()
        update(next(batches), learning_rate(spec.optimizer, origin.cycles, step), step)
        distribution.only_ask()
