"""Small datasets with the OD API's features, made for a test."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from detection_trainer.data.records import write_record
from detection_trainer.data.wire import Values, encode_example

CLASSES = ("tree", "shrub")


@dataclass(frozen=True, slots=True)
class Drawn:
    """An image of noise, and the boxes that its record has."""

    boxes: Sequence[Sequence[float]] = ((0.25, 0.25, 0.5, 0.75),)
    """ymin, xmin, ymax, xmax."""
    labels: Sequence[int] = (1,)
    height: int = 24
    width: int = 32
    seed: int = 0
    image_format: str = "PNG"
    crowd: Sequence[int] = ()

    def features(self) -> dict[str, Values]:
        """Return the record's features; a test may change them."""
        columns = [[float(box[edge]) for box in self.boxes] for edge in range(4)]
        edges = ("ymin", "xmin", "ymax", "xmax")
        return {
            "image/encoded": [self.encoded()],
            "image/height": [self.height],
            "image/width": [self.width],
            "image/source_id": [f"image-{self.seed}".encode()],
            "image/object/class/label": list(self.labels),
            "image/object/is_crowd": list(self.crowd),
            **{f"image/object/bbox/{e}": c for e, c in zip(edges, columns, strict=True)},
        }

    def pixels(self) -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """Return the image uint8 [H, W, 3]."""
        random = np.random.default_rng(self.seed)
        return random.integers(0, 256, (self.height, self.width, 3), np.uint8)

    def encoded(self) -> bytes:
        """Return the image's file."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels()).save(buffer, self.image_format)
        return buffer.getvalue()

    def record(self, **changes: Values) -> bytes:
        """Return the serialised example; `changes` replace features, with `__` in place of `/`."""
        changed = {name.replace("__", "/"): values for name, values in changes.items()}
        return encode_example({**self.features(), **changed})


def write_dataset(path: Path, records: Sequence[bytes | Drawn]) -> Path:
    """Write `records` to a TFRecord file at `path`; create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for record in records:
            write_record(file, record.record() if isinstance(record, Drawn) else record)
    return path
