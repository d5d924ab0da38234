"""A generated dataset: one to three coloured shapes on noise, 128 px, JPEG."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from detection_trainer.data.records import write_record
from detection_trainer.data.wire import Values, encode_example

CLASSES = ("square", "disc", "triangle")
SIDE = 128
TRAIN_IMAGES, VALIDATION_IMAGES = 800, 96
FILES = 4
_COLOURS = ((220, 60, 50), (60, 90, 220), (70, 190, 80))


def write_shapes(folder: Path, train: int = TRAIN_IMAGES, val: int = VALIDATION_IMAGES) -> None:
    """Write files with `train` images and one with `val`; the same bytes each time."""
    each = train // FILES
    for number in range(FILES):
        _write(folder / f"train-{number}.tfrecord", range(number * each, (number + 1) * each))
    _write(folder / "validation.tfrecord", range(10**6, 10**6 + val))


def _write(path: Path, seeds: range) -> None:
    with path.open("wb") as file:
        for seed in seeds:
            write_record(file, _record(seed))


def _record(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    pixels = random.integers(60, 180, (SIDE, SIDE, 3), dtype=np.uint8)
    boxes: list[tuple[float, ...]] = []
    labels = []
    # Each quarter of the image has at most one shape: none hides another.
    for quarter in random.permutation(4)[: random.integers(1, 4)]:
        size = int(random.integers(SIDE // 8, SIDE // 2 - 8))
        top, left = (
            int(part) * SIDE // 2 + int(random.integers(0, SIDE // 2 - size))
            for part in divmod(quarter, 2)
        )
        label = int(random.integers(0, len(CLASSES)))
        ground = pixels[top : top + size, left : left + size]
        ground[_mask(label, size)] = _COLOURS[int(random.integers(0, len(_COLOURS)))]
        boxes.append((top / SIDE, left / SIDE, (top + size) / SIDE, (left + size) / SIDE))
        labels.append(label + 1)
    image = io.BytesIO()
    Image.fromarray(pixels).save(image, "JPEG", quality=90)
    features: dict[str, Values] = {
        "image/encoded": [image.getvalue()],
        "image/object/class/label": labels,
    }
    for column, edge in enumerate(("ymin", "xmin", "ymax", "xmax")):
        features[f"image/object/bbox/{edge}"] = [box[column] for box in boxes]
    return encode_example(features)


def _mask(label: int, size: int) -> npt.NDArray[np.bool_]:
    """Return which pixels [size, size] the shape covers."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    shapes = (
        np.ones((size, size), np.bool_),
        y**2 + x**2 <= (size / 2) ** 2,
        np.abs(x) <= (y + size / 2) / 2,
    )
    return np.asarray(shapes[label])
