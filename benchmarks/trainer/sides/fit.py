"""Keras `fit` on the trainer's own detector and loss, with Keras' optimizer and nothing else.

It saves nothing and reports nothing (`verbose=0`): the minimum that `fit` can do.
"""

import sys
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from benchmarks.trainer.sides.gate import Gate
from benchmarks.trainer.sides.pipeline import fit_batches, validation_score
from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.contract.schedule import first_cycles, learning_rate
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.contract.training import read_training
from detection_trainer.models import Detector, build_detector
from detection_trainer.models.losses import detection_loss
from detection_trainer.models.targets import assign_targets

_RATES = 2000
"""Steps until the rate is constant; the measured schedules have ended by then."""


class FitModel(keras.Model):  # type: ignore[misc] # Keras ships no types
    """The detector in the form that `fit` takes."""

    def __init__(self, detector: Detector) -> None:
        """Train `detector`'s network."""
        super().__init__()
        self.network = detector.network
        self._detector = detector

    def call(self, images: Any, training: bool = False) -> Any:  # noqa: FBT001, FBT002 - Keras' signature
        """Run the network on `images` [B,S,S,3]."""
        return self.network(images, training=training)

    def compute_loss(self, x: Any, y: Any, y_pred: Any, *_weights: Any, **_given: Any) -> Any:
        """Return the detection loss."""
        del x
        targets = assign_targets(self._detector, *y)
        return detection_loss(self._detector, y_pred, targets)["loss"]


class Rates(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc] # Keras ships no types
    """The trainer's learning rate, from a table."""

    def __init__(self, spec: TrainingSpec) -> None:
        """Compute the rates of the first steps."""
        cycles = first_cycles(spec.optimizer.schedule, spec.steps)
        self._rates = [learning_rate(spec.optimizer, cycles, step) for step in range(_RATES)]

    def __call__(self, step: Any) -> Any:
        """Return the rate of `step`."""
        return tf.gather(tf.constant(self._rates), tf.minimum(tf.cast(step, tf.int32), _RATES - 1))


class Stretches(keras.callbacks.Callback):  # type: ignore[misc] # Keras ships no types
    """The gate as a callback."""

    def __init__(self, gate: Gate) -> None:
        """Wait at `gate` before the first batch and after each stretch."""
        super().__init__()
        self._gate, self._left = gate, 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Wait for the first stretch."""
        del logs
        self._left = self._gate.open()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """End the stretch with its last batch."""
        del batch, logs
        self._left -= 1
        if not self._left:
            self._gate.close()
            self._left = self._gate.open()


def keras_optimizer(spec: Optimizer, rate: Any) -> keras.optimizers.Optimizer:
    """Return Keras' own optimizer with the hyper-parameters of `spec`."""
    if spec.name == "momentum":
        return keras.optimizers.SGD(
            rate, momentum=spec.momentum, global_clipnorm=spec.gradient_clip_norm
        )
    return keras.optimizers.Adam(rate, global_clipnorm=spec.gradient_clip_norm)


def main(file: str) -> None:
    """Train the document in `file` until standard input ends."""
    gate, spec = Gate(), read_training(Path(file)).spec
    keras.utils.set_random_seed(spec.seed)
    detector = build_detector(spec.model, len(spec.dataset.classes or []), seed=spec.seed)
    model = FitModel(detector)
    model.compile(optimizer=keras_optimizer(spec.optimizer, Rates(spec)))
    gate.evaluate = validation_score(detector, spec)
    model.fit(
        fit_batches(spec),
        steps_per_epoch=spec.steps,
        verbose=0,
        shuffle=False,
        callbacks=[Stretches(gate)],
    )


if __name__ == "__main__":
    main(sys.argv[1])
