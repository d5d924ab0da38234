"""A dataset of coloured shapes, written by the product's own record writer: seconds to learn from.

Images of 64 px with one or two shapes on a noisy ground; a file is a pure function of its seeds.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from detection_trainer.data.records import write_record
from detection_trainer.data.wire import Values, encode_example
from detection_trainer.storage import Folder

CLASSES = ("square", "disc")
SIDE = 64
TRAIN_IMAGES, VALIDATION_IMAGES = 24, 8
LABEL_MAP = "\n".join(
    f"item {{\n  id: {number}\n  name: '{name}'\n}}" for number, name in enumerate(CLASSES, 1)
)

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
_COLOURS = ((220, 60, 50), (60, 90, 220))


@dataclass(frozen=True)
class Picture:
    """An image and its annotated objects."""

    name: str
    pixels: Pixels
    boxes: tuple[Box, ...]
    """ymin, xmin, ymax, xmax as fractions of the side."""
    labels: tuple[int, ...]


def draw_picture(seed: int) -> Picture:
    """Return one image [SIDE, SIDE, 3] with a shape in its left half, its right half, or both."""
    random = np.random.default_rng(seed)
    pixels = random.integers(90, 140, (SIDE, SIDE, 3), dtype=np.uint8)
    boxes: list[Box] = []
    labels: list[int] = []
    for half in random.permutation(2)[: random.integers(1, 3)]:
        size = int(random.integers(14, 26))
        top = int(random.integers(0, SIDE - size))
        left = int(half) * SIDE // 2 + int(random.integers(0, SIDE // 2 - size + 1))
        label = int(random.integers(1, len(CLASSES) + 1))
        pixels[top : top + size, left : left + size][_mask(label, size)] = _COLOURS[label - 1]
        boxes.append((top / SIDE, left / SIDE, (top + size) / SIDE, (left + size) / SIDE))
        labels.append(label)
    return Picture(f"shapes-{seed}.png", pixels, tuple(boxes), tuple(labels))


def encode_picture(picture: Picture) -> bytes:
    """Return the record of one image, with the OD API's feature names."""
    image = io.BytesIO()
    Image.fromarray(picture.pixels).save(image, "PNG")
    features: dict[str, Values] = {
        "image/encoded": [image.getvalue()],
        "image/format": [b"png"],
        "image/height": [SIDE],
        "image/width": [SIDE],
        "image/source_id": [picture.name.encode()],
        "image/filename": [picture.name.encode()],
        "image/object/class/label": list(picture.labels),
    }
    for column, edge in enumerate(("ymin", "xmin", "ymax", "xmax")):
        features[f"image/object/bbox/{edge}"] = [box[column] for box in picture.boxes]
    return encode_example(features)


def record_file(pictures: Iterable[Picture]) -> bytes:
    """Return a TFRecord file of `pictures`."""
    file = io.BytesIO()
    for picture in pictures:
        write_record(file, encode_picture(picture))
    return file.getvalue()


def spoil(pictures: list[Picture], number: int, **changes: object) -> bytes:
    """Return a TFRecord file whose record `number` has these changes."""
    spoilt = replace(pictures[number], **changes)  # type: ignore[arg-type]
    return record_file([*pictures[:number], spoilt, *pictures[number + 1 :]])


def write_shapes(folder: Folder) -> None:
    """Write the dataset: two files to train on, one to validate on, and the label map."""
    train = [draw_picture(seed) for seed in range(TRAIN_IMAGES)]
    validation = [draw_picture(1000 + seed) for seed in range(VALIDATION_IMAGES)]
    half = TRAIN_IMAGES // 2
    folder.write("train-00000-of-00002.tfrecord", record_file(train[:half]))
    folder.write("train-00001-of-00002.tfrecord", record_file(train[half:]))
    folder.write("validation-00000-of-00001.tfrecord", record_file(validation))
    folder.write("label_map.pbtxt", LABEL_MAP.encode())


def _mask(label: int, size: int) -> npt.NDArray[np.bool_]:
    """Return which pixels [size, size] the shape of class `label` covers."""
    if label == 1:
        return np.ones((size, size), np.bool_)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.asarray(y**2 + x**2 <= (size / 2) ** 2)
