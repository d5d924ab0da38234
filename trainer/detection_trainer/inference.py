"""A detector as a checkpoint holds it, and what it finds in pictures that people look at."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from PIL import Image, ImageDraw

from detection_trainer.checkpoint import Checkpoint
from detection_trainer.errors import CheckpointMissingError
from detection_trainer.manifest import MODEL_FILE
from detection_trainer.models import build_detector
from detection_trainer.models.detections import detect
from detection_trainer.models.detector import Detector


@dataclass(frozen=True, slots=True)
class Finding:
    """One object found in an image."""

    class_name: str
    score: float
    box: tuple[float, float, float, float]
    """ymin, xmin, ymax, xmax in pixels of the image."""


def load_detector(checkpoint: Checkpoint) -> Detector:
    """Build the checkpoint's model and give it the checkpoint's weights, digest verified.

    Raises:
        DamagedCheckpointError: the weights' bytes are not those of the manifest.
        CheckpointMissingError: the variables are not those of this version's model.
    """
    manifest = checkpoint.manifest
    detector = build_detector(manifest.model, len(manifest.classes))
    weights = checkpoint.read_file(MODEL_FILE)
    differing = weights.keys() ^ detector.variables.keys()
    if differing:
        msg = (
            f"{checkpoint.folder.uri} holds other variables than this version's model "
            f"({', '.join(sorted(differing)[:3])}): use the trainer that wrote it"
        )
        raise CheckpointMissingError(msg)
    for path, variable in detector.variables.items():
        variable.assign(weights[path])
    return detector


def find_objects(
    detector: Detector, image: Image.Image, classes: Sequence[str], min_score: float
) -> list[Finding]:
    """Return what is found in `image` with at least `min_score`, the most certain first."""
    size = detector.spec.image_size
    pixels = tf.constant(np.asarray(image.convert("RGB")), tf.float32)
    # As the training pipeline resizes.
    batch = tf.image.resize(pixels, [size, size])[None]
    found = detect(detector, detector(batch, training=False))
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


def draw_findings(
    image: Image.Image, findings: Sequence[Finding], classes: Sequence[str]
) -> Image.Image:
    """Return a copy of `image` with a frame and a label for each finding, a colour a class."""
    picture = image.convert("RGB")
    draw = ImageDraw.Draw(picture)
    width = max(1, round(max(picture.size) / 400))
    for finding in findings:
        ymin, xmin, ymax, xmax = finding.box
        colour = _colour(classes.index(finding.class_name), len(classes))
        draw.rectangle((xmin, ymin, xmax, ymax), outline=colour, width=width)
        draw.text((xmin + width + 1, ymin + width), _label(finding), fill=colour)
    return picture


def _label(finding: Finding) -> str:
    return f"{finding.class_name} {finding.score:.2f}"


def _colour(index: int, count: int) -> tuple[int, int, int]:
    red, green, blue = colorsys.hsv_to_rgb(index / max(count, 1), 0.9, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)
