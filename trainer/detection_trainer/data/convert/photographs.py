"""Photographs with their boxes in pixels, as read from annotation files."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from detection_trainer.errors import DataInvalidError

_SHOWN_CLASSES = 8

PixelBoxes = npt.NDArray[np.float64]
"""[N,4]: ymin, xmin, ymax, xmax in pixels from the image's upper left corner."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One image file and its annotations."""

    path: Path
    height: int
    width: int
    boxes: PixelBoxes
    names: tuple[str, ...]
    """Class of each box."""
    difficult: tuple[bool, ...]
    crowd: tuple[bool, ...]
    source: str = ""
    """The annotation that names the image, for messages."""
    upright: bool = True
    """Whether height, width and boxes are those of the image as viewers show it, rotated by its
    EXIF orientation; otherwise they are those of the stored pixels."""

    def select(self, kept: npt.NDArray[np.bool_]) -> "Photograph":
        """Return the photograph with the boxes where `kept` [N] is true."""
        chosen = [int(index) for index in np.flatnonzero(kept)]
        return replace(
            self,
            boxes=self.boxes[chosen],
            names=tuple(self.names[index] for index in chosen),
            difficult=tuple(self.difficult[index] for index in chosen),
            crowd=tuple(self.crowd[index] for index in chosen),
        )


def clipped_boxes(boxes: PixelBoxes, height: int, width: int) -> PixelBoxes:
    """Return `boxes` clipped at the edges of an image of `height` and `width`."""
    return np.clip(boxes, 0.0, np.array([height, width] * 2, np.float64))


def have_area(boxes: PixelBoxes, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Return which of `boxes` have an area in a record, which stores fractions in float32."""
    with np.errstate(invalid="ignore"):
        fractions = (boxes / np.array([height, width] * 2, np.float64)).astype(np.float32)
        return np.asarray((fractions[:, 2:] > fractions[:, :2]).all(axis=1))


def require_distinct(photographs: Iterable[Photograph]) -> None:
    """Refuse two annotations of one image: the boxes of one may belong to another image.

    Raises:
        DataInvalidError: an image has several annotations; the message names each.
    """
    first: dict[Path, Photograph] = {}
    problems = []
    for photograph in photographs:
        path = photograph.path.resolve()
        other = first.get(path)
        if other is None:
            first[path] = photograph
        else:
            names = f"{other.source or other.path} and {photograph.source or photograph.path}"
            problems.append(f"{names} both name the image {photograph.path}")
    if problems:
        advice = "correct the image's name in one of them, or take one out"
        shown = "\n".join(problems)
        raise DataInvalidError(
            f"{shown}: {advice}" if len(problems) == 1 else f"{advice}:\n{shown}"
        )


def require_classes(
    photographs: Iterable[Photograph], classes: Sequence[str], source: str
) -> Counter[str]:
    """Return the number of boxes of each class; all classes must be in `classes`.

    Raises:
        DataInvalidError: a box has another class.
    """
    counts: Counter[str] = Counter()
    for photograph in photographs:
        counts.update(photograph.names)
    unknown = sorted(counts.keys() - set(classes))
    if unknown:
        msg = (
            f"{source}: boxes of {', '.join(map(repr, unknown[:_SHOWN_CLASSES]))} are not among "
            f"the classes {', '.join(map(repr, list(classes)[:_SHOWN_CLASSES]))}: add them, or "
            "take them out"
        )
        raise DataInvalidError(msg)
    return counts
