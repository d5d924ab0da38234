"""The images of a dataset with boxes in pixels, to be written as files.

Their names come from the records and are made safe and unique.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from detection_trainer.data.convert.photographs import PixelBoxes
from detection_trainer.data.dataset import Dataset
from detection_trainer.data.orientation import without_orientation
from detection_trainer.errors import InvalidConfigError
from detection_trainer.storage import Folder

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_UNSAFE = re.compile(r'[\x00-\x1f<>:"/\\|?*]+')
DECIMALS = 2
"""Decimals of a pixel, as in COCO's files: fractions in float32 then give back whole pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One image and its annotations."""

    file_name: str
    encoded: bytes
    height: int
    width: int
    boxes: PixelBoxes
    names: tuple[str, ...]
    """Class of each box."""
    difficult: tuple[bool, ...]
    crowd: tuple[bool, ...]


def take_pictures(dataset: Dataset) -> Iterator[Picture]:
    """Yield every image of `dataset`, in order."""
    taken: set[str] = set()
    for number, stored in enumerate(dataset.images, start=1):
        about, encoded = stored.annotations, dataset.read_image(stored)
        if about.turned:  # The boxes are on the stored pixels.
            encoded = without_orientation(encoded)
        suffix = ".png" if encoded.startswith(_PNG_SIGNATURE) else ".jpg"
        sides = np.array([about.height, about.width] * 2, np.float64)
        yield Picture(
            file_name=_file_name(about.name or f"image-{number}", suffix, taken),
            encoded=encoded,
            height=about.height,
            width=about.width,
            boxes=np.round(about.boxes.astype(np.float64) * sides, DECIMALS),
            names=tuple(dataset.classes[label - 1] for label in about.labels),
            difficult=tuple(map(bool, about.difficult)),
            crowd=tuple(map(bool, about.crowd)),
        )


def require_empty(folder: Folder) -> None:
    """Refuse a folder that is not empty.

    Raises:
        InvalidConfigError: it is not empty.
    """
    present = [entry.path for entry in folder.list()]
    if present:
        shown = ", ".join(present[:3])
        raise InvalidConfigError(f"{folder.uri} already has files ({shown}): choose another folder")


def _file_name(name: str, suffix: str, taken: set[str]) -> str:
    path = PurePosixPath(_UNSAFE.sub("_", name).strip(". ") or "image")
    known = path.suffix.lower() in {".png", ".jpg", ".jpeg"}
    stem = path.stem if known else path.name
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    free = next(candidate for candidate in candidates if candidate not in taken)
    taken.add(free)
    return free + suffix
