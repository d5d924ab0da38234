"""The start-up that the chief and the other workers share.

Each worker calls `open_inputs`, then joins the rendezvous (`distributed.rendezvous`), which decides
the initial step, then enters `started_run`. What follows differs: `session` on the chief, `worker`
on the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from detection_trainer.checkpoints.format import Checkpoint, Snapshot
from detection_trainer.checkpoints.manifest import Environment
from detection_trainer.checkpoints.resume_check import require_same_records
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.base import canonical_digest
from detection_trainer.data.pipeline import explained, training_batches
from detection_trainer.distributed.distribution import (
    Distribution,
    losing_peers,
    start_distribution,
)
from detection_trainer.run.context import Attempt
from detection_trainer.run.datasets import Datasets, open_datasets
from detection_trainer.run.initial_state import InitialState, load_initial_state
from detection_trainer.run.tensorflow_setup import prepare_tensorflow
from detection_trainer.training.start import Start
from detection_trainer.training.step import TrainingStep, build_training_step
from detection_trainer.weights.restore import weights_digest


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a worker opens before the rendezvous."""

    datasets: Datasets
    environment: Environment


@dataclass(frozen=True, slots=True)
class StartedRun:
    """What a worker trains with, after its initial state is loaded."""

    datasets: Datasets
    environment: Environment
    distribution: Distribution
    update: TrainingStep
    initial: InitialState
    batches: Iterator[Any]
    """This worker's rows of the batches from step `initial.step` on."""


def open_inputs(attempt: Attempt, resumed: Checkpoint | None = None) -> Inputs:
    """Set up TensorFlow and open the datasets.

    Args:
        attempt: the attempt to start.
        resumed: the checkpoint from which the attempt resumes, if it is already known.
    """
    environment = prepare_tensorflow(attempt.spec)
    manifest = None if resumed is None else resumed.manifest
    return Inputs(open_datasets(attempt, manifest), environment)


@contextmanager
def started_run(
    attempt: Attempt, inputs: Inputs, start: Start, store: CheckpointStore
) -> Iterator[StartedRun]:
    """Connect to the other workers, build the network and load the state that `start` names.

    Raises:
        PeerLostError: another worker ended or trains something else; also within the context.
        DatasetChangedError: the datasets differ from those of the run's checkpoint.
        TrainerError: the state cannot be loaded.
    """
    spec, cluster, datasets = attempt.spec, attempt.options.cluster, inputs.datasets
    with losing_peers(cluster, attempt.stop):
        distribution = start_distribution(spec, cluster, attempt.stop)
        # Compare before the network is built: its shapes depend on the number of classes.
        require_same_datasets(distribution, datasets)
        update = build_training_step(spec, len(datasets.classes), distribution)
        initial = load_initial_state(start, store, attempt, datasets.classes, update)
        require_same_state(distribution, update.snapshot(initial.step))
        if initial.resumed is not None:
            require_same_records(initial.resumed.manifest, datasets.train.digest)
        batches = training_batches(datasets.train, spec, initial.step, distribution.shard)
        yield StartedRun(
            datasets=datasets,
            environment=inputs.environment.model_copy(update={"world_size": distribution.replicas}),
            distribution=distribution,
            update=update,
            initial=initial,
            batches=explained(batches, datasets.train),
        )


def require_same_datasets(distribution: Distribution, datasets: Datasets) -> None:
    """Compare the records and the classes of all workers.

    Raises:
        PeerLostError: they differ.
    """
    if distribution.cluster.size > 1:
        distribution.require_same("records", datasets.train.digest)
        distribution.require_same("classes", canonical_digest(datasets.classes))


def require_same_state(distribution: Distribution, state: Snapshot) -> None:
    """Compare the initial state of all workers.

    Raises:
        PeerLostError: they differ, so the workers would train different models.
    """
    if distribution.cluster.size > 1:
        distribution.require_same("state", weights_digest({**state.weights, **state.optimizer}))
