"""What TensorFlow's own reader finds in a run's event files."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from detection_trainer.storage import Folder


def files(run: Folder) -> list[str]:
    """Return the names of the event files."""
    return [entry.path for entry in run.child("events").list()]


def points(run: Folder) -> Iterator[tuple[str, int, Any]]:
    """Yield tag, step and value of every point."""
    for path in files(run):
        place = run.child("events").local_path(path)
        for event in tf.compat.v1.train.summary_iterator(str(place)):
            for value in event.summary.value:
                yield value.tag, event.step, value


def steps(run: Folder, tag: str = "training/loss") -> list[int]:
    """Return at which steps `tag` has a point."""
    return [step for found, step, _ in points(run) if found == tag]
