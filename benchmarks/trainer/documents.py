"""The measured trainings, as documents that `detection-trainer run` reads."""

from pathlib import Path
from typing import Any

import yaml

from benchmarks.trainer.shapes import CLASSES, SIDE

BATCH_SIZE = 8
Document = dict[str, Any]

TINY: Document = {
    "backbone": "tiny",
    "imageSize": SIDE,
    "fpn": {"minLevel": 3, "maxLevel": 5, "additionalLayerDepth": 64},
    "boxPredictor": {"depth": 64, "numLayersBeforePredictor": 2},
    "anchors": {"anchorScale": 2.0, "aspectRatios": [1.0], "scalesPerOctave": 2},
    "matcher": {"matchedThreshold": 0.5, "unmatchedThreshold": 0.4},
    "loss": {"huberDelta": 0.11},
}
RESNET50: Document = {"backbone": "resnet50", "imageSize": 256}
"""The OD API's sizes: a pyramid of 256, heads of four convolutions, six anchors a cell."""
ADAM: Document = {
    "name": "adam",
    "learningRate": 0.002,
    "gradientClipNorm": 5,
    "schedule": {"type": "cosine", "warmupSteps": 50, "decaySteps": 600, "finalFraction": 0.05},
}
MOMENTUM: Document = {"name": "momentum", "learningRate": 0.01}


def write_training(folder: Path, data: Path, every_steps: int = 1000, **spec: Any) -> Path:
    """Write a training of the shapes at `data` into `folder`.

    Args:
        folder: the run's, too.
        data: where the shapes lie.
        every_steps: between two checkpoints.
        spec: replaces other fields.
    """
    fields: Document = {
        "model": TINY,
        "dataset": {
            "train": {"uri": f"file://{data}/train-*.tfrecord"},
            "validation": {"uri": f"file://{data}/validation.tfrecord"},
            "classes": list(CLASSES),
        },
        "steps": 100_000,
        "batchSize": BATCH_SIZE,
        "optimizer": ADAM,
        "augmentation": [{"randomHorizontalFlip": {}}, {"randomScaleCrop": {}}],
        "checkpoints": {
            "storage": {"uri": f"file://{folder}/run"},
            "everySteps": every_steps,
            "keepLast": 2,
        },
    }
    document = {
        "apiVersion": "detectiontraining.dev/v1alpha1",
        "kind": "DetectionTraining",
        "metadata": {"name": "shapes"},
        "spec": fields | spec,
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "training.yaml"
    file.write_text(yaml.safe_dump(document))
    return file
