"""Cuts photographs into tiles, and holds out a region of each for validation.

Pure: it decides windows and boxes; pixels are cut when records are written. A window never leaves
its region, so that no pixel is in both the training and the validation set.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from detection_trainer.data.convert.photographs import Photograph, have_area
from detection_trainer.errors import InvalidConfigError


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels: from `top`, `left` to `bottom`, `right`, which are excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left


@dataclass(frozen=True, slots=True)
class Tiling:
    """How to cut photographs."""

    side: int | None = None
    """Side of a square tile in pixels; None leaves a region whole."""
    overlap: float = 0.0
    """Minimum overlap of neighbouring tiles, as a fraction of the side, below 1."""
    min_visible: float = 0.5
    """A tile keeps a box if it shows at least this fraction of the box's area."""
    keep_negatives: bool = True
    """Whether to keep tiles without boxes."""

    def __post_init__(self) -> None:
        """Refuse numbers that cut nothing or never end.

        Raises:
            InvalidConfigError: a number is out of its range.
        """
        if self.side is not None and self.side < 1:
            raise InvalidConfigError(f"tile takes at least 1 pixel; received {self.side}")
        if not 0.0 <= self.overlap < 1.0:
            msg = f"overlap takes a fraction from 0 to below 1; received {self.overlap}"
            raise InvalidConfigError(msg)
        if not 0.0 < self.min_visible <= 1.0:
            msg = f"min-visible takes a fraction above 0 up to 1; received {self.min_visible}"
            raise InvalidConfigError(msg)


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of a photograph; the boxes are in pixels of the window."""

    photograph: Photograph
    window: Window
    is_whole: bool
    """Whether the window is the whole image, so that its file can be used unchanged."""


def whole(photograph: Photograph) -> Window:
    """Return the window of the whole `photograph`."""
    return Window(0, 0, photograph.height, photograph.width)


def split_window(window: Window, holdout: float, side: int | None = None) -> tuple[Window, Window]:
    """Return `window` without its rightmost fraction `holdout`, and that fraction.

    If both sides of the border have room for a tile of `side` pixels, neither part is narrower: a
    narrower tile would be stretched.

    Raises:
        InvalidConfigError: one of the two is empty.
    """
    width = round(window.width * holdout)
    if side is not None and window.width >= 2 * side:
        width = min(max(width, side), window.width - side)
    border = window.right - width
    if not window.left < border < window.right:
        msg = (
            f"holdout takes a fraction that leaves pixels on both sides of an image {window.width} "
            f"wide; received {holdout}"
        )
        raise InvalidConfigError(msg)
    return replace(window, right=border), replace(window, left=border)


def cut_tiles(photograph: Photograph, region: Window, tiling: Tiling) -> list[Tile]:
    """Return the tiles of `region`, row by row.

    The last tile of a row or column ends at the region's edge, so that the tiles cover the region;
    a region smaller than a tile becomes one smaller tile.
    """
    tops = _starts(region.top, region.bottom, tiling)
    lefts = _starts(region.left, region.right, tiling)
    windows = [Window(top, left, bottom, right) for top, bottom in tops for left, right in lefts]
    tiles = [_cut(photograph, window, tiling.min_visible) for window in windows]
    return [tile for tile in tiles if tiling.keep_negatives or len(tile.photograph.boxes)]


def _starts(first: int, last: int, tiling: Tiling) -> list[tuple[int, int]]:
    """Return the start and end of the tiles between `first` and `last`, evenly spaced."""
    length, side = last - first, tiling.side or last - first
    if length <= side:
        return [(first, last)]
    step = max(1, int(side * (1.0 - tiling.overlap)))
    count = math.ceil((length - side) / step) + 1
    starts = [first + round(i * (length - side) / (count - 1)) for i in range(count)]
    return [(start, start + side) for start in starts]


def _cut(photograph: Photograph, window: Window, min_visible: float) -> Tile:
    corner = np.array([window.top, window.left] * 2, np.float64)
    limits = np.array([window.height, window.width] * 2, np.float64)
    moved = photograph.boxes - corner
    clipped = np.clip(moved, 0.0, limits)
    area = _areas(moved)
    solid = have_area(clipped, window.height, window.width)
    kept = (_areas(clipped) >= min_visible * area) & solid
    shown = replace(photograph, boxes=clipped).select(kept)
    return Tile(shown, window, is_whole=window == whole(photograph))


def _areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    areas: npt.NDArray[np.float64] = sides[:, 0] * sides[:, 1]
    return areas


def shard_bounds(count: int, shards: int) -> Sequence[tuple[int, int]]:
    """Return start and end of each of `shards` parts of `count` records, as even as possible."""
    edges = [count * index // shards for index in range(shards + 1)]
    return list(pairwise(edges))
