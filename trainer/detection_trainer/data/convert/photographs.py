"""Photographs with their boxes in pixels, as annotation files give them.

What an annotation says and what the image is are compared here, so that a mistake is found while
the annotation is at hand and not in the middle of a training.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from detection_trainer.errors import DataInvalidError, NotFoundError

_SHOWN_PROBLEMS = 5

PixelBoxes = npt.NDArray[np.float64]
"""[N,4]: ymin, xmin, ymax, xmax in pixels from the image's upper left corner."""


@dataclass(frozen=True, slots=True)
class Photograph:
    """One image file and what is on it."""

    path: Path
    height: int
    width: int
    boxes: PixelBoxes
    names: tuple[str, ...]
    """Class of each box."""
    difficult: tuple[bool, ...]
    crowd: tuple[bool, ...]

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


@dataclass(slots=True)
class Findings:
    """What was wrong with single boxes while annotations were read."""

    drop_bad_boxes: bool = False
    """Leave bad boxes out instead of refusing the conversion."""
    clipped: int = 0
    """Boxes that reached beyond the image and were cut at its edge."""
    problems: list[str] = field(default_factory=list)
    """Boxes that cannot be used, each with file and number."""

    def clip(self, photograph: Photograph, source: str) -> Photograph:
        """Return `photograph` with every box cut at the image's edge, and bad ones left out."""
        limits = np.array([photograph.height, photograph.width] * 2, np.float64)
        boxes = np.clip(photograph.boxes, 0.0, limits)
        finite = np.isfinite(photograph.boxes).all(axis=1)
        has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        kept: npt.NDArray[np.bool_] = np.asarray(finite & has_area)
        for index in np.flatnonzero(~kept):
            corners = [float(value) for value in photograph.boxes[index]]
            self.problems.append(
                f"{source}: box {index} ({photograph.names[index]}) has no area inside the image "
                f"of {photograph.width}x{photograph.height}: ymin, xmin, ymax, xmax are {corners}"
            )
        self.clipped += int((boxes != photograph.boxes)[kept].any(axis=1).sum())
        return replace(photograph, boxes=boxes).select(kept)

    def refuse(self) -> None:
        """Refuse the annotations if boxes are bad and may not be dropped.

        Raises:
            DataInvalidError: the first of them are named.
        """
        if not self.problems or self.drop_bad_boxes:
            return
        shown = "\n".join(self.problems[:_SHOWN_PROBLEMS])
        msg = (
            f"{len(self.problems)} boxes cannot be used: correct them, or leave them out by "
            f"--drop-bad-boxes:\n{shown}"
        )
        raise DataInvalidError(msg)


@dataclass(frozen=True, slots=True)
class Annotations:
    """All that an annotation file or folder says."""

    photographs: list[Photograph]
    classes: list[str]
    """Names in the order of the source's own ids, else sorted."""
    findings: Findings


def measure_image(path: Path) -> tuple[int, int]:
    """Return height and width of the image at `path`; its pixels are not decoded.

    Raises:
        NotFoundError: there is no such file.
        DataInvalidError: it is no image that can be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path}: the annotated image does not exist: check --images"
        ) from error
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataInvalidError(f"{path}: expected an image; reading it failed: {error}") from error
    return height, width


def require_size(path: Path, said: tuple[int | None, int | None], source: str) -> tuple[int, int]:
    """Return the image's height and width, which must be what its annotation says.

    Raises:
        DataInvalidError: they differ.
    """
    actual = measure_image(path)
    pairs = zip(said, actual, strict=True)
    if any(stated and stated != measured for stated, measured in pairs):
        msg = (
            f"{source}: says that {path.name} is {said[1]} wide and {said[0]} high; it is "
            f"{actual[1]} wide and {actual[0]} high: the boxes are of another image or size"
        )
        raise DataInvalidError(msg)
    return actual


def require_classes(
    photographs: Iterable[Photograph], classes: Sequence[str], source: str
) -> Counter[str]:
    """Return how many boxes there are of each class; all must be among `classes`.

    Raises:
        DataInvalidError: a box has another class.
    """
    counts: Counter[str] = Counter()
    for photograph in photographs:
        counts.update(photograph.names)
    unknown = sorted(counts.keys() - set(classes))
    if unknown:
        msg = (
            f"{source}: boxes of {', '.join(map(repr, unknown[:8]))} are not among the classes "
            f"{', '.join(map(repr, list(classes)[:8]))}: add them, or take them out"
        )
        raise DataInvalidError(msg)
    return counts
