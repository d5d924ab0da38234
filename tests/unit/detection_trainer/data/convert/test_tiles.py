from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detection_trainer.data.convert.photographs import Photograph
from detection_trainer.data.convert.tiles import (
    Tiling,
    Window,
    cut_tiles,
    shard_bounds,
    split_window,
    whole,
)
from detection_trainer.errors import InvalidConfigError


def photograph(width: int, height: int, *boxes: tuple[float, float, float, float]) -> Photograph:
    """Return a photograph with boxes ymin, xmin, ymax, xmax, called b0, b1, …"""
    count = len(boxes)
    return Photograph(
        path=Path("photograph.png"),
        height=height,
        width=width,
        boxes=np.asarray(boxes, np.float64).reshape(-1, 4),
        names=tuple(f"b{number}" for number in range(count)),
        difficult=(False,) * count,
        crowd=(False,) * count,
    )


def windows(width: int, height: int, tiling: Tiling) -> list[tuple[int, int, int, int]]:
    image = photograph(width, height)
    tiles = cut_tiles(image, whole(image), tiling)
    return [(t.window.top, t.window.left, t.window.bottom, t.window.right) for t in tiles]


@pytest.mark.parametrize(
    ("width", "height", "tiling", "expected"),
    [
        (30, 20, Tiling(), [(0, 0, 20, 30)]),
        (30, 20, Tiling(side=40), [(0, 0, 20, 30)]),
        (20, 10, Tiling(side=10), [(0, 0, 10, 10), (0, 10, 10, 20)]),
        (25, 10, Tiling(side=10), [(0, 0, 10, 10), (0, 8, 10, 18), (0, 15, 10, 25)]),
        (20, 10, Tiling(side=10, overlap=0.5), [(0, 0, 10, 10), (0, 5, 10, 15), (0, 10, 10, 20)]),
    ],
    ids=[
        "whole without a side",
        "whole where it is smaller than a tile",
        "side by side",
        "pushed together where they do not fit evenly",
        "by half a tile with half of it common",
    ],
)
def test_an_image_is_cut(
    width: int, height: int, tiling: Tiling, expected: list[tuple[int, int, int, int]]
) -> None:
    assert windows(width, height, tiling) == expected


@settings(deadline=None, max_examples=50)  # A busy machine is no failure.
@given(
    width=st.integers(1, 100),
    height=st.integers(1, 60),
    side=st.integers(1, 50),
    overlap=st.floats(0.0, 0.9),
)
def test_every_pixel_is_on_a_tile_and_tiles_share_at_least_the_overlap(
    width: int, height: int, side: int, overlap: float
) -> None:
    side = max(side, max(width, height) // 8)  # Else there are very many.
    cut = windows(width, height, Tiling(side=side, overlap=overlap))
    covered = np.zeros((height, width), np.bool_)
    for top, left, bottom, right in cut:
        assert 0 <= top < bottom <= height
        assert 0 <= left < right <= width
        assert bottom - top == min(side, height)
        covered[top:bottom, left:right] = True
    assert covered.all()
    lefts = sorted({left for _, left, _, _ in cut})
    for here, there in pairwise(lefts):
        assert there - here <= max(1, int(side * (1 - overlap))) + 1


def test_boxes_move_with_the_tile_and_are_clipped() -> None:
    image = photograph(20, 10, (1, 2, 4, 6), (2, 9, 6, 13))
    left, right = cut_tiles(image, whole(image), Tiling(side=10, min_visible=0.5))
    np.testing.assert_array_equal(left.photograph.boxes, [[1, 2, 4, 6]])
    assert right.photograph.names == ("b1",)
    np.testing.assert_array_equal(right.photograph.boxes, [[2, 0, 6, 3]])


@pytest.mark.parametrize(
    ("min_visible", "left", "right"),
    [(0.25, ("b0",), ("b0",)), (0.26, (), ("b0",)), (0.75, (), ("b0",)), (0.76, (), ())],
)
def test_a_box_stays_where_enough_of_it_shows(
    min_visible: float, left: tuple[str, ...], right: tuple[str, ...]
) -> None:
    image = photograph(20, 10, (0, 9, 4, 13))
    tiles = cut_tiles(image, whole(image), Tiling(side=10, min_visible=min_visible))
    assert [tile.photograph.names for tile in tiles] == [left, right]


def test_tiles_without_boxes_may_be_left_out() -> None:
    image = photograph(20, 10, (1, 2, 4, 6))
    assert len(cut_tiles(image, whole(image), Tiling(side=10))) == 2
    [tile] = cut_tiles(image, whole(image), Tiling(side=10, keep_negatives=False))
    assert tile.window.left == 0


def test_only_the_whole_image_counts_as_whole() -> None:
    image = photograph(20, 10)
    assert [t.is_whole for t in cut_tiles(image, whole(image), Tiling())] == [True]
    assert [t.is_whole for t in cut_tiles(image, whole(image), Tiling(side=10))] == [False] * 2


@pytest.mark.parametrize(
    ("holdout", "side", "border"),
    [(0.25, None, 75), (0.1, 20, 80), (0.95, 20, 20), (0.1, 60, 90), (0.3, 20, 70)],
    ids=[
        "at the fraction",
        "a tile from the right where the fraction is less",
        "a tile from the left where it is more",
        "at the fraction where there is no room for two tiles",
        "at the fraction where it has room for a tile",
    ],
)
def test_the_right_part_begins(holdout: float, side: int | None, border: int) -> None:
    left, right = split_window(Window(0, 0, 50, 100), holdout, side)
    assert (left.left, left.right, right.left, right.right) == (0, border, border, 100)
    assert (left.height, right.height, right.width) == (50, 50, 100 - border)


@pytest.mark.parametrize("holdout", [0.0, 0.001, 1.0, -0.5])
def test_a_part_without_pixels_is_refused(holdout: float) -> None:
    with pytest.raises(InvalidConfigError, match="leaves pixels on both sides"):
        split_window(Window(0, 0, 50, 100), holdout)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"side": 0}, "tile takes at least 1 pixel; received 0"),
        ({"side": 10, "overlap": 1.0}, "overlap takes a fraction from 0 to below 1; received 1.0"),
        ({"min_visible": 0.0}, "min-visible takes a fraction above 0 up to 1; received 0.0"),
    ],
)
def test_a_tiling_that_cuts_nothing_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(InvalidConfigError, match=message):
        Tiling(**fields)  # type: ignore[arg-type]


@settings(deadline=None)
@given(count=st.integers(0, 500), shards=st.integers(1, 20))
def test_shards_have_every_record_once_and_are_even(count: int, shards: int) -> None:
    bounds = shard_bounds(count, shards)
    numbers = [number for first, end in bounds for number in range(first, end)]
    assert numbers == list(range(count))
    lengths = [end - first for first, end in bounds]
    assert max(lengths) - min(lengths) <= 1


def test_a_sliver_that_float32_makes_empty_is_left_out() -> None:
    image = photograph(40, 20, (0, 19.9999999, 20, 40))
    left, right = cut_tiles(image, whole(image), Tiling(side=20, min_visible=1e-12))
    assert left.photograph.names == ()
    assert right.photograph.names == ("b0",)
