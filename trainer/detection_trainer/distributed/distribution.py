"""The replicas of one training: the workers of `TF_CONFIG` and the GPUs of each.

With one replica there is no strategy and no collective. With several, each has a copy of every
variable and trains its own rows of the global batch; `models.replicas` adds up their results.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from detection_trainer.contract.base import DIGEST_PREFIX
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.data.pipeline import Shard
from detection_trainer.distributed.tf_config import Cluster
from detection_trainer.errors import InvalidConfigError, PeerLostError
from detection_trainer.stop import StopRequested, StopSignal

_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)
"""The errors of a collective operation whose peer is gone."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The replicas that run each step, and the values on which they agree."""

    strategy: Any = None
    """A `tf.distribute.Strategy`, or None for one replica."""
    cluster: Cluster = field(default_factory=Cluster)
    stop: StopSignal = field(default_factory=StopSignal)
    _vote_sums: deque[Any] = field(default_factory=lambda: deque(maxlen=2))

    @property
    def replicas(self) -> int:
        """The number of replicas over all workers."""
        return 1 if self.strategy is None else int(self.strategy.num_replicas_in_sync)

    @property
    def shard(self) -> Shard:
        """The rows of the global batch that this worker computes."""
        return Shard(self.cluster.index, self.cluster.size)

    @property
    def requested(self) -> bool:
        """Whether to stop before the next step; equal on all workers at the same step.

        With one replica it is the signal itself. With several it is the sum of the votes of the
        step before the last: that sum is already computed, so that no step waits for another.
        """
        if self.cluster.size == 1:
            return self.stop.requested
        full = len(self._vote_sums) == self._vote_sums.maxlen
        return full and float(self._vote_sums[0]) > 0

    def raise_if_requested(self) -> None:
        """Raise StopRequested if all workers agreed to stop."""
        if self.requested:
            raise StopRequested

    def defer_signals(self) -> None:
        """Make later signals set the flag only, without raising."""
        self.stop.defer_signals()

    def wants_stop(self) -> float:
        """Return this worker's vote for the next step: 1 to stop, else 0."""
        return float(self.cluster.size > 1 and self.stop.requested)

    def add_votes(self, stops: Any) -> None:
        """Take the sum of all votes of a step, which may still be on the device."""
        if self.cluster.size > 1:
            self._vote_sums.append(stops)

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which each replica gets a copy of new variables."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def run(self, update: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run `update` on each replica and return the result of this worker's first one."""
        if self.strategy is None:
            return update(*arguments)
        results = self.strategy.run(update, arguments)
        return tf.nest.map_structure(
            lambda value: self.strategy.experimental_local_results(value)[0], results
        )

    def spread(self, batch: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        """Return this worker's rows, split among its own replicas."""
        local = self.replicas // self.cluster.size
        if local == 1:
            return batch
        first = self.cluster.index * local
        shares = [tf.split(part, local) for part in batch]
        return tuple(
            self.strategy.experimental_distribute_values_from_function(
                lambda context, share=share: share[context.replica_id_in_sync_group - first]
            )
            for share in shares
        )

    @contextmanager
    def ending_together(self) -> Iterator[None]:
        """Keep every worker until all are done, because the chief may still have to save."""
        try:
            yield
        except StopRequested:
            # Only a stop on which all agreed ends all; a signal during the start-up ends this one.
            if self.requested:
                self.agree(0.0)
            raise
        self.agree(0.0)

    def agree(self, value: float) -> float:
        """Return the sum of `value` over all workers; waits for all."""
        if self.cluster.size == 1:
            return value
        # Only the first replica of a worker votes, so that each worker counts once.
        votes = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                value if context.replica_id_in_sync_group % self._local == 0 else 0.0, tf.float64
            )
        )
        return float(self.strategy.reduce(tf.distribute.ReduceOp.SUM, votes, axis=None))

    def require_same(self, what: str, digest: str) -> None:
        """Compare this worker's digest with those of the others.

        Raises:
            PeerLostError: they differ, so the workers would train different models.
        """
        # 20 bits, so that the squares of a thousand workers add up without rounding.
        mine = float(int(digest.removeprefix(DIGEST_PREFIX)[:5], 16))
        size = self.cluster.size
        # Different values may have this mean, but then the mean of their squares is larger.
        mean, square = self.agree(mine) / size, self.agree(mine * mine) / size
        if mean != mine or square != mine * mine:
            msg = (
                f"worker {self.cluster.index} starts with {what} that differ from the other "
                f"workers' ({digest[:19]}…): all workers must see the same storage and run the "
                "same image"
            )
            raise PeerLostError(msg)

    @property
    def _local(self) -> int:
        return self.replicas // self.cluster.size


ALONE = Distribution()
"""A single replica."""


def start_distribution(spec: TrainingSpec, cluster: Cluster, stop: StopSignal) -> Distribution:
    """Connect the workers and use all GPUs of this one.

    Raises:
        InvalidConfigError: the batch size is not divisible by the number of replicas.
    """
    if cluster.size > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow has installed its own SIGTERM handler, which would not stop the loop.
        stop.install()
    elif len(tf.config.list_physical_devices("GPU")) > 1:
        strategy = tf.distribute.MirroredStrategy()
    else:
        return Distribution(stop=stop)
    distribution = Distribution(strategy, cluster, stop)
    if spec.batch_size % distribution.replicas:
        msg = (
            f"batchSize {spec.batch_size} is the total of all replicas: it must be divisible by "
            f"their number, {distribution.replicas} ({cluster.size} workers with "
            f"{distribution.replicas // cluster.size} devices each)"
        )
        raise InvalidConfigError(msg)
    return distribution


@contextmanager
def losing_peers(cluster: Cluster, stop: StopSignal) -> Iterator[None]:
    """Turn the errors of a collective operation into the error of its cause.

    Raises:
        PeerLostError: another worker has ended.
        StopRequested: another worker has ended, and a stop of this one is requested too.
    """
    try:
        yield
    except _LOST as error:
        if cluster.size == 1:
            raise
        if stop.requested:
            raise StopRequested from error
        msg = (
            f"another worker has ended, so this one cannot continue ({type(error).__name__}): see "
            "the log of that worker"
        )
        raise PeerLostError(msg) from error
