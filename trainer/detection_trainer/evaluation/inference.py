"""Loads the detector of a checkpoint, and runs it on images for people."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from detection_trainer.checkpoints.format import Checkpoint
from detection_trainer.errors import CheckpointMissingError
from detection_trainer.evaluation.drawing import Finding
from detection_trainer.models import build_detector
from detection_trainer.models.detections import detect
from detection_trainer.models.detector import Detector
from detection_trainer.models.resizing import Resizer


def load_detector(checkpoint: Checkpoint) -> Detector:
    """Return the checkpoint's model with its weights, after verifying their digest.

    Raises:
        DamagedCheckpointError: the weights' bytes differ from the manifest.
        CheckpointMissingError: the variables differ from those of this version's model.
    """
    manifest = checkpoint.manifest
    detector = build_detector(manifest.model, len(manifest.classes))
    weights = checkpoint.read_weights()
    differing = weights.keys() ^ detector.variables.keys()
    if differing:
        msg = (
            f"{checkpoint.folder.uri} has other variables than the model of this version "
            f"({', '.join(sorted(differing)[:3])}): use the trainer that wrote it"
        )
        raise CheckpointMissingError(msg)
    for path, variable in detector.variables.items():
        variable.assign(weights[path])
    return detector


def find_objects(
    detector: Detector, image: Image.Image, classes: Sequence[str], min_score: float
) -> list[Finding]:
    """Return the detections in `image` with at least `min_score`, the highest score first."""
    resizer = Resizer(detector.spec)
    batch = resizer(tf.constant(np.asarray(image.convert("RGB"))))[None]
    window = resizer.window(tf.constant([[image.height, image.width]]))
    found = detect(detector, detector(batch, training=False), window)
    scale = np.array([image.height, image.width, image.height, image.width])
    rows = zip(
        (found["boxes"][0].numpy() * scale).tolist(),
        found["scores"][0].numpy(),
        found["classes"][0].numpy(),
        strict=True,
    )
    return [
        Finding(classes[label - 1], float(score), (ymin, xmin, ymax, xmax))
        for (ymin, xmin, ymax, xmax), score, label in rows
        if label > 0 and score >= min_score
    ]
