"""One update of the weights as a single graph, and the state that a checkpoint stores.

The graph is traced once, because the learning rate is a tensor argument. The state is every
variable of the network and of the optimizer, by stable path; steps share nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from detection_trainer.checkpoints.format import Arrays, Snapshot
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.distributed.distribution import ALONE, Distribution
from detection_trainer.errors import CheckpointMissingError
from detection_trainer.models import build_detector, replicas
from detection_trainer.models.detector import Detector
from detection_trainer.models.losses import detection_loss
from detection_trainer.models.targets import assign_targets
from detection_trainer.training.optimizer import SlotOptimizer

_NEVER = -1


class TrainingStep:
    """Detector and optimizer, and the function that updates both by one step."""

    def __init__(
        self, detector: Detector, spec: TrainingSpec, distribution: Distribution = ALONE
    ) -> None:
        """Create a zeroed optimizer for the detector's trainable variables.

        With several replicas, call it within the distribution's scope.
        """
        self.detector, self._distribution = detector, distribution
        trainable = {path: v.value for path, v in detector.trainable_by_path.items()}
        half = spec.model.precision == "mixed_float16"
        self.optimizer = SlotOptimizer(spec.optimizer, trainable, scale_loss=half)
        self._first_bad_step = tf.Variable(_NEVER, dtype=tf.int64, trainable=False)
        self._graph = tf.function(self._update_all, autograph=False, jit_compile=False)

    def __call__(self, batch: tuple[Any, Any, Any], rate: float, step: int) -> dict[str, Any]:
        """Update the weights from `step` to `step + 1`; returns scalar losses, still on the device.

        Args:
            batch: images float32 [B,S,S,3], boxes float32 [B,N,4], classes integer [B,N]; with
                several workers, this worker's rows of the global batch.
            rate: the learning rate of this update.
            step: the step of the state before the update.
        """
        distribution = self._distribution
        losses: dict[str, Any] = self._graph(
            *distribution.spread(batch),
            tf.constant(rate, tf.float32),
            tf.constant(step, tf.int64),
            tf.constant(distribution.wants_stop(), tf.float32),
        )
        distribution.add_votes(losses.pop("stops"))
        return losses

    def first_bad_step(self) -> int | None:
        """Return the first step whose loss or gradients were not finite; waits for the device."""
        step = int(self._first_bad_step.numpy())
        return None if step == _NEVER else step

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Swap the averaged weights into the detector within the context, if the run keeps them."""
        trained = [tf.identity(v) for v in self.optimizer.trainable if self.optimizer.averages]
        for path, average in self.optimizer.averages.items():
            self.detector.variables[path].assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self.optimizer.trainable, trained, strict=False):
                variable.assign(value)

    def snapshot(self, step: int) -> Snapshot:
        """Return the complete state in host memory; continued training does not change it.

        On a CPU this copies nothing: a value that was read keeps its memory, and the next update of
        that variable uses new memory.
        """
        weights = {path: _read(v) for path, v in self.detector.variables.items()}
        slots = {path: _read(v) for path, v in self.optimizer.variables.items()}
        groups = {path: self.detector.group_of(path) for path in weights}
        return Snapshot(step=step, weights=weights, optimizer=slots, groups=groups)

    def load(self, weights: Arrays, slots: Arrays) -> None:
        """Load the complete state of a checkpoint, after comparing every path and shape.

        Raises:
            CheckpointMissingError: the paths or shapes of the checkpoint differ.
        """
        states = ((self.detector.variables, weights), (self.optimizer.variables, slots))
        differences = [d for variables, arrays in states for d in _differences(variables, arrays)]
        if differences:
            msg = (
                "the state in the checkpoint differs from this version's, so the run cannot "
                f"resume exactly: {'; '.join(differences[:5])}: use the trainer that wrote it"
            )
            raise CheckpointMissingError(msg)
        for variables, arrays in states:
            for path, variable in variables.items():
                variable.assign(arrays[path])

    def _update_all(self, *arguments: Any) -> Any:
        return self._distribution.run(self._update, arguments)

    def _update(  # noqa: PLR0913, PLR0917 - what a graph takes
        self, images: Any, boxes: Any, classes: Any, rate: Any, step: Any, stop: Any
    ) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.optimizer.trainable)
            outputs = self.detector(images, training=True)
            targets = assign_targets(self.detector, boxes, classes)
            positives = replicas.total(targets.positives)
            losses = detection_loss(self.detector, outputs, targets, positives)
            objective = self.optimizer.scaled(losses["loss"])
        gradients = tape.gradient(objective, self.optimizer.trainable)
        # Each replica has its share. This is the only reduction, and it comes before clipping.
        gradients, losses, stops = replicas.total((gradients, losses, stop))
        norm = self.optimizer.apply(gradients, rate)
        finite = tf.math.is_finite(losses["loss"]) & tf.math.is_finite(norm)
        bad = ~finite & (self._first_bad_step < 0)
        replicas.assign(self._first_bad_step, tf.where(bad, step + 1, self._first_bad_step))
        return {**losses, "stops": stops}


def build_training_step(
    spec: TrainingSpec, num_classes: int, distribution: Distribution = ALONE
) -> TrainingStep:
    """Build detector and optimizer; fresh weights are a pure function of the seed."""
    keras.utils.set_random_seed(spec.seed)
    with distribution.scope():
        detector = build_detector(spec.model, num_classes, freeze=spec.freeze, seed=spec.seed)
        return TrainingStep(detector, spec, distribution)


def _read(variable: Any) -> np.ndarray[Any, Any]:
    """Return the value as a read-only view, which keeps the tensor alive."""
    return np.asarray(memoryview(tf.convert_to_tensor(variable)))


def _differences(variables: Any, arrays: Arrays) -> list[str]:
    found = {path: tuple(array.shape) for path, array in arrays.items()}
    expected = {path: tuple(variable.shape) for path, variable in variables.items()}
    return [
        f"{path}: expected {expected.get(path, 'no such variable')}, "
        f"received {found.get(path, 'no such variable')}"
        for path in sorted(expected.keys() | found.keys())
        if expected.get(path) != found.get(path)
    ]
