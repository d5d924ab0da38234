"""How long a save blocks training: a snapshot and its commit, and Keras' `save_weights`.

One process, one state: weights of a ResNet50 RetinaNet and its momentum. Prints one JSON object per
round; the two sides take turns.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks.trainer.sides.fit import FitModel, keras_optimizer
from detection_trainer.checkpoints.format import Snapshot, write_checkpoint
from detection_trainer.checkpoints.manifest_builder import RunDescription
from detection_trainer.checkpoints.saver import Saver
from detection_trainer.contract.schedule import first_cycles
from detection_trainer.contract.training import Training, read_training
from detection_trainer.run.tensorflow_setup import read_environment
from detection_trainer.storage import open_folder
from detection_trainer.training.step import TrainingStep, build_training_step

USUAL_STEPS = 4


def seconds(action: Callable[[], object]) -> float:
    """Return how long `action` takes."""
    began = time.perf_counter()
    action()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - began


class Saving:
    """The state, one batch, and both ways to save."""

    def __init__(self, training: Training, folder: Path) -> None:
        """Build the model and train a first step."""
        spec, self._folder = training.spec, folder
        self._update = build_training_step(spec, len(spec.dataset.classes or []))
        self._batch = _batch(spec.model.image_size)
        self._keras = _keras_model(self._update, spec)
        self.step()
        self._run, self._description = open_folder(folder.as_uri()), _description(training)
        self._saver = Saver(self._commit, lambda _snapshot, error: sys.exit(str(error)))

    def step(self) -> None:
        """Train one step."""
        self._update(self._batch, 0.001, 0)

    def round(self) -> dict[str, float]:
        """Save once each way, in turns; return the seconds."""
        self.step()
        usual_s = float(np.median([seconds(self.step) for _ in range(USUAL_STEPS)]))
        save_weights_s = seconds(lambda: self._keras.save_weights(self._folder / "k.weights.h5"))
        self.step()
        began = time.perf_counter()
        blocked_s = seconds(lambda: self._saver.submit(self._update.snapshot(1)))
        next_s = seconds(self.step)
        self._saver.drain()
        return {
            "usual_s": usual_s,
            "blocked_s": blocked_s,
            "next_s": next_s,
            "commit_s": time.perf_counter() - began,
            "save_weights_s": save_weights_s,
        }

    def _commit(self, snapshot: Snapshot) -> None:
        describe = partial(self._description.manifest, snapshot)
        write_checkpoint(self._run, snapshot, describe, lambda: None)


def _batch(size: int) -> tuple[Any, Any, Any]:
    images = np.random.default_rng(0).uniform(0, 255, (1, size, size, 3))
    boxes = np.tile(np.array([0.1, 0.1, 0.6, 0.7], np.float32), (1, 8, 1))
    return tf.constant(images, tf.float32), tf.constant(boxes), tf.ones((1, 8), tf.int32)


def _keras_model(update: TrainingStep, spec: Any) -> keras.Model:
    model = FitModel(update.detector)
    model.build((None, spec.model.image_size, spec.model.image_size, 3))
    optimizer = keras_optimizer(spec.optimizer, 0.001)
    optimizer.build(model.trainable_variables)
    model.compile(optimizer=optimizer)
    return model


def _description(training: Training) -> RunDescription:
    spec = training.spec
    return RunDescription(
        identity=training.identity,
        spec=spec,
        attempt=1,
        classes=list(spec.dataset.classes or []),
        cycles=first_cycles(spec.optimizer.schedule, spec.steps),
        environment=read_environment(deterministic=False),
        dataset_digest=None,
        restored=None,
        clock=lambda: datetime.now(UTC),
    )


def main(file: Path, rounds: int) -> None:
    """Measure the training in `file`."""
    saving = Saving(read_training(file), file.parent)
    saving.round()
    for _ in range(rounds):
        sys.stdout.write(json.dumps(saving.round()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
