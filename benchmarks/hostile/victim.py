"""The training that is measured: small, in real pods, and the moments of its life."""

import io
import time
from dataclasses import dataclass
from typing import Any

from detection_trainer.data.records import write_record
from detection_trainer.storage import Folder
from sandbox.samples.datasets import CLASSES, Drawn
from sandbox.samples.trainings import TINY_MODEL, training
from sandbox.site import object_store
from sandbox.site.kube import TRAININGS, Kube, Object, phase

DATASET = "s3://data/noise"
IMAGES, STEPS, SAVED_EVERY = 24, 300, 100
TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Life:
    """How long after its apply a training started, reported and completed, in seconds."""

    started_s: float
    """Its trainer's container runs."""
    reported_s: float
    """The status shows the first report of the trainer."""
    completed_s: float


def write_dataset(folder: Folder) -> None:
    """Write images of noise, each with a box."""
    file = io.BytesIO()
    for number in range(IMAGES):
        write_record(file, Drawn(seed=number, height=64, width=64).record())
    folder.write("train-00000-of-00001.tfrecord", file.getvalue())


def document(namespace: str, name: str) -> Object:
    """Return the training."""
    return training(
        name,
        model=TINY_MODEL,
        dataset={"train": {"uri": f"{DATASET}/train-*.tfrecord"}, "classes": list(CLASSES)},
        steps=STEPS,
        checkpoints={
            "storage": {"uri": f"s3://runs/{namespace}/{name}"},
            "everySteps": SAVED_EVERY,
        },
        credentials=[{"uriPrefix": "s3://", "secretRef": {"name": object_store.SECRET}}],
        resources={"requests": {"cpu": "200m", "memory": "512Mi"}},
    )


def live(kube: Kube, namespace: str, name: str) -> Life:
    """Apply the training and wait until it is complete.

    Raises:
        WaitTimeoutError: it does not become so.
    """
    collection = TRAININGS.format(namespace=namespace)
    began = time.monotonic()
    kube.create(collection, document(namespace, name))
    moments = []
    for what, reached in (("started", _started), ("reported", _reported), ("complete", _complete)):
        path = f"{collection}/{name}"
        kube.wait(path, reached, what=f"{name} is {what}", timeout_s=TIMEOUT_S)
        moments.append(time.monotonic() - began)
    return Life(*moments)


def _attempt(found: Object | None) -> dict[str, Any]:
    return ((found or {}).get("status") or {}).get("currentAttempt") or {}


def _started(found: Object | None) -> bool:
    return "startedAt" in _attempt(found)


def _reported(found: Object | None) -> bool:
    return "resumedFromStep" in _attempt(found)


def _complete(found: Object | None) -> bool:
    return phase(found) == "Complete"
