"""Compares annotations with their images during a conversion.

So a mistake is found before a training. All mistakes are collected before the conversion is
refused, so that the user can correct them together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from detection_trainer.data.convert.image_files import measure_image
from detection_trainer.data.convert.photographs import (
    Photograph,
    PixelBoxes,
    clipped_boxes,
    have_area,
    require_distinct,
)
from detection_trainer.errors import DataInvalidError, NotFoundError

_SHOWN = 5
_FRACTION_ROUNDING = 0.01

ExifRule = Literal["apply", "ignore"]
BoxUnits = Literal["pixels", "fractions"]
Size = tuple[int | None, int | None]


@dataclass(slots=True)
class Findings:
    """The mistakes in images and boxes that were found while annotations were read."""

    drop_bad_boxes: bool = False
    """Leave bad boxes out instead of refusing the conversion."""
    exif: ExifRule | None = None
    """What to do with an orientation if the annotated size does not decide."""
    box_units: BoxUnits | None = None
    """None refuses boxes that look like fractions of the image."""
    clipped: int = 0
    """Number of boxes that exceeded the image and were clipped at its edge."""
    problems: list[str] = field(default_factory=list)
    """Invalid boxes, each with file and number."""
    left_out: dict[str, int | list[str]] = field(default_factory=dict)
    """What was not converted: kind -> count or names."""
    _failures: list[DataInvalidError | NotFoundError] = field(default_factory=list)
    _undecided: list[str] = field(default_factory=list)
    _fractions: list[str] = field(default_factory=list)
    _beyond_fractions: list[str] = field(default_factory=list)

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Keep the error of one annotation or image for `refuse`."""
        try:
            yield
        except (DataInvalidError, NotFoundError) as error:
            self._failures.append(error)

    def fit(
        self, path: Path, stated: Size, source: str, *, has_boxes: bool
    ) -> tuple[int, int, bool]:
        """Return the annotated image's height and width, and whether its EXIF orientation applies.

        Args:
            path: the image.
            stated: height and width in the annotation; None or 0 if missing.
            source: the annotation, for messages.
            has_boxes: whether the image has boxes, which depend on the orientation.

        Raises:
            NotFoundError: the image does not exist.
            DataInvalidError: the image has another size, or cannot be read.
        """
        image = measure_image(path)
        fits_stored, fits_shown = _fits(stated, image.stored), _fits(stated, image.shown)
        if not fits_stored and not fits_shown:
            raise DataInvalidError(_wrong_size(path, stated, image.stored, source))
        if image.orientation == 1:
            return (*image.stored, True)
        if fits_stored != fits_shown:
            upright = fits_shown
        else:
            upright = self.exif != "ignore"
            if self.exif is None and has_boxes:
                self._undecided.append(f"{source}: {path.name}, orientation {image.orientation}")
        return (*(image.shown if upright else image.stored), upright)

    def clip(self, photograph: Photograph) -> Photograph:
        """Return `photograph` with every box clipped at the image's edge, without invalid boxes."""
        photograph = self._in_pixels(photograph)
        size = photograph.height, photograph.width
        boxes = clipped_boxes(photograph.boxes, *size)
        finite = np.isfinite(photograph.boxes).all(axis=1)
        kept: npt.NDArray[np.bool_] = np.asarray(finite & have_area(boxes, *size))
        for index in np.flatnonzero(~kept):
            corners = [float(value) for value in photograph.boxes[index]]
            self.problems.append(
                f"{photograph.source}: box {index} ({photograph.names[index]}) has no area inside "
                f"the image of {photograph.width}x{photograph.height}: ymin, xmin, ymax, xmax are "
                f"{corners}"
            )
        self.clipped += int((boxes != photograph.boxes)[kept].any(axis=1).sum())
        return replace(photograph, boxes=boxes).select(kept)

    def refuse(self, photographs: Sequence[Photograph]) -> None:
        """Refuse a conversion with mistakes, or with a question that the user must answer.

        Raises:
            NotFoundError: images are missing.
            DataInvalidError: annotations, images or boxes are bad, or the user must decide.
        """
        self._refuse_failures()
        require_distinct(photographs)
        _refuse_all(
            self._undecided,
            "{} images have an EXIF orientation, and their annotations do not state whether boxes "
            "are on the image as viewers show it (--exif apply) or on its pixels as they are "
            "stored (--exif ignore)",
        )
        _refuse_all(
            self._fractions,
            "{} boxes lie between 0 and 1: they seem to be fractions of the image (--box-units "
            "fractions), and are smaller than a pixel if they are not (--box-units pixels)",
        )
        _refuse_all(
            self._beyond_fractions,
            "{} boxes are no fractions of the image, which are between 0 and 1: correct them, or "
            "leave out --box-units fractions",
        )
        if not self.drop_bad_boxes:
            _refuse_all(
                self.problems,
                "{} boxes cannot be used: correct them, or leave them out by --drop-bad-boxes",
            )

    def _refuse_failures(self) -> None:
        if not self._failures:
            return
        if len(self._failures) == 1:
            raise self._failures[0]
        missing = all(isinstance(error, NotFoundError) for error in self._failures)
        listed = "\n".join(map(str, self._failures))
        msg = f"{len(self._failures)} annotations or their images cannot be used:\n{listed}"
        raise NotFoundError(msg) if missing else DataInvalidError(msg)

    def _in_pixels(self, photograph: Photograph) -> Photograph:
        """Return the photograph with boxes in pixels; records those with an uncertain unit."""
        boxes = photograph.boxes
        sides = np.array([photograph.height, photograph.width] * 2, np.float64)
        if self.box_units == "fractions":
            self._beyond_fractions += _listed(photograph, ~_are_fractions(boxes))
            return replace(photograph, boxes=boxes * sides)
        if self.box_units is None and max(photograph.height, photograph.width) > 1:
            solid = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            self._fractions += _listed(photograph, _are_fractions(boxes) & solid)
        return photograph


@dataclass(frozen=True, slots=True)
class Annotations:
    """The content of an annotation file or folder."""

    photographs: list[Photograph]
    classes: list[str]
    """Names in the order of the source's ids, or sorted if it has none."""
    findings: Findings


def _fits(stated: Size, size: tuple[int, int]) -> bool:
    return all(not side or side == actual for side, actual in zip(stated, size, strict=True))


def _wrong_size(path: Path, stated: Size, actual: tuple[int, int], source: str) -> str:
    return (
        f"{source}: states that {path.name} is {stated[1]} wide and {stated[0]} high; it is "
        f"{actual[1]} wide and {actual[0]} high: the boxes are of another image or size"
    )


def _are_fractions(boxes: PixelBoxes) -> npt.NDArray[np.bool_]:
    low, high = -_FRACTION_ROUNDING, 1.0 + _FRACTION_ROUNDING
    return np.asarray(((boxes >= low) & (boxes <= high)).all(axis=1))


def _listed(photograph: Photograph, chosen: npt.NDArray[np.bool_]) -> list[str]:
    return [
        f"{photograph.source}: box {index} ({photograph.names[index]}): ymin, xmin, ymax, xmax are "
        f"{[float(value) for value in photograph.boxes[index]]}"
        for index in np.flatnonzero(chosen)
    ]


def _refuse_all(found: Sequence[str], what: str) -> None:
    if not found:
        return
    shown = "\n".join(found[:_SHOWN])
    more = f"\nand {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    raise DataInvalidError(f"{what.format(len(found))}:\n{shown}{more}")
