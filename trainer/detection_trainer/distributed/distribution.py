"""Several replicas of one training: the workers that `TF_CONFIG` names, and the GPUs of each.

One replica is the plain program: no strategy, no collective. With several, each has a copy of every
variable and trains its own rows of the global batch; `replicas` adds up what they found.
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
"""What a collective operation fails with when a peer has gone."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The replicas that run each step, and what they agree on."""

    strategy: Any = None
    """A `tf.distribute.Strategy`; None for one replica."""
    cluster: Cluster = field(default_factory=Cluster)
    stop: StopSignal = field(default_factory=StopSignal)
    _heard: deque[Any] = field(default_factory=lambda: deque(maxlen=2))

    @property
    def replicas(self) -> int:
        """Over all workers."""
        return 1 if self.strategy is None else int(self.strategy.num_replicas_in_sync)

    @property
    def shard(self) -> Shard:
        """The rows of the global batch that this worker makes."""
        return Shard(self.cluster.index, self.cluster.size)

    @property
    def requested(self) -> bool:
        """Whether to stop before the next step; all workers say the same at the same step.

        Alone that is the signal itself. Else it is what came of the step before the last, which
        has been computed by now, so that no step waits for another.
        """
        if self.cluster.size == 1:
            return self.stop.requested
        full = len(self._heard) == self._heard.maxlen
        return full and float(self._heard[0]) > 0

    def raise_if_requested(self) -> None:
        """Raise StopRequested once all agreed to stop."""
        if self.requested:
            raise StopRequested

    def only_ask(self) -> None:
        """From now on a signal interrupts nothing."""
        self.stop.only_ask()

    def wants_stop(self) -> float:
        """Return this worker's vote for the step that begins."""
        return float(self.cluster.size > 1 and self.stop.requested)

    def hear(self, stops: Any) -> None:
        """Take the sum of all votes of a step; it may still be on the device."""
        if self.cluster.size > 1:
            self._heard.append(stops)

    def scope(self) -> AbstractContextManager[Any]:
        """Return the context in which variables get a copy for each replica."""
        return nullcontext() if self.strategy is None else self.strategy.scope()

    def run(self, update: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """Run `update` on each replica; returns what the first one here returned."""
        if self.strategy is None:
            return update(*arguments)
        results = self.strategy.run(update, arguments)
        return tf.nest.map_structure(
            lambda value: self.strategy.experimental_local_results(value)[0], results
        )

    def spread(self, batch: tuple[Any, Any, Any]) -> tuple[Any, ...]:
        """Share this worker's rows out among its own replicas."""
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
        """Let no worker leave before all are done: the chief may have to save yet."""
        try:
            yield
        except StopRequested:
            if self.requested:
                self.agree(0.0)
            raise
        self.agree(0.0)

    def agree(self, value: float) -> float:
        """Return the sum of all workers' `value`; waits for all."""
        if self.cluster.size == 1:
            return value
        votes = self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(
                value if context.replica_id_in_sync_group % self._local == 0 else 0.0, tf.float64
            )
        )
        return float(self.strategy.reduce(tf.distribute.ReduceOp.SUM, votes, axis=None))

    def require_same(self, what: str, digest: str) -> None:
        """Compare this worker's digest with all others'.

        Raises:
            PeerLostError: they differ, so that the workers would not train one model.
        """
        # Of 20 bits, so that squares of a thousand workers add up without rounding.
        mine = float(int(digest.removeprefix(DIGEST_PREFIX)[:5], 16))
        size = self.cluster.size
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
"""One replica."""


def start_distribution(spec: TrainingSpec, cluster: Cluster, stop: StopSignal) -> Distribution:
    """Connect the workers and take all GPUs of this one.

    Raises:
        InvalidConfigError: the batch cannot be shared out among all replicas.
    """
    if cluster.size > 1:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        # TensorFlow has put a SIGTERM handler of its own in place, which asks nobody here.
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
    """Call what a collective fails with by its name.

    Raises:
        PeerLostError: another worker has ended.
        StopRequested: likewise, and this one was asked to stop as well.
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
