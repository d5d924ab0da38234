"""Trains one model on one device and on two, and prints how far apart they are, as JSON.

python -m tests.support.programs.two_devices

A program, since TensorFlow's devices are fixed once it has begun. The two are halves of the CPU;
beside them the same is trained on one device with the rows of each batch in another order, which
changes nothing but the order in which floats are added.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.distributed.distribution import Distribution
from detection_trainer.training.step import TrainingStep, build_training_step
from tests.support.trainer.runs import parsed

STEPS, ROWS, RATE = 20, 4, 0.01


def batch(step: int) -> tuple[Any, ...]:
    """Return images of noise, a box on each and two on one."""
    random = np.random.default_rng(step)
    boxes, classes = np.zeros((ROWS, 8, 4), np.float32), np.zeros((ROWS, 8), np.int32)
    boxes[:, 0], classes[:, 0] = [0.1, 0.2, 0.6, 0.8], 1
    boxes[2, 1], classes[2, 1] = [0.3, 0.3, 0.9, 0.9], 1
    images = random.uniform(0, 255, (ROWS, 64, 64, 3)).astype(np.float32)
    return tuple(map(tf.constant, (images, boxes, classes)))


def trained(update: TrainingStep, *, turned: bool = False) -> Snapshot:
    """Train all steps, each batch with its rows reversed on request; return the state."""
    for step in range(STEPS):
        rows = batch(step)
        update(tuple(tf.reverse(part, [0]) for part in rows) if turned else rows, RATE, step)
    return update.snapshot(STEPS)


def distance(left: Snapshot, right: Snapshot) -> float:
    """Return the largest difference between two states, 1.0 being 1e-5 and 1e-5 of the value."""
    return max(
        float(np.max(np.abs(array - b[path]) / (1e-5 + 1e-5 * np.abs(array))))
        for a, b in ((left.weights, right.weights), (left.optimizer, right.optimizer))
        for path, array in a.items()
    )


def are_copies_equal(update: TrainingStep) -> bool:
    """Return whether the devices have equal bits."""
    states = (update.detector.variables, update.optimizer.variables)
    mirrored = [variable for state in states for variable in state.values()]
    return all(
        len({copy.numpy().tobytes() for copy in tf.nest.flatten(_copies(variable))}) == 1
        for variable in mirrored
    )


def _copies(variable: Any) -> Any:
    held = variable.value if isinstance(variable, keras.Variable) else variable
    copies = held.values
    if len(copies) != 2:
        raise AssertionError(f"{variable} is on {len(copies)} devices")
    return copies


def main() -> int:
    """Train three times, and compare."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, halves)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    optimizer = {"learningRate": RATE}
    spec = parsed(steps=STEPS, batchSize=ROWS, seed=7, optimizer=optimizer).spec
    update = build_training_step(spec, 1)
    begun = update.snapshot(0)
    one = trained(update)
    update.load(begun.weights, begun.optimizer)
    turned = trained(update, turned=True)
    two = build_training_step(spec, 1, Distribution(strategy=strategy))
    found = {
        "twoDevices": distance(one, trained(two)),
        "rowsTurned": distance(one, turned),
        "trained": distance(one, begun),
        "copiesAreEqual": are_copies_equal(two),
    }
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
