"""Random changes: what each does to pixels and boxes."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from detection_trainer.contract.augmentation import Augmentation
from detection_trainer.data.augmentation import augment_colors, augment_geometry, draw_uniform
from detection_trainer.models.targets import CROWD

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 8, 16
BOX = (0.25, 0.0, 0.5, 0.125)


def steps(*changes: dict[str, Any]) -> list[Augmentation]:
    return [Augmentation.model_validate(change) for change in changes]


def marked(box: tuple[float, float, float, float]) -> Array:
    """Return an image that is white inside `box`."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    ymin, xmin, ymax, xmax = box
    rows = slice(round(ymin * HEIGHT), round(ymax * HEIGHT))
    image[rows, round(xmin * WIDTH) : round(xmax * WIDTH)] = 255
    return image


def changed(
    chosen: list[Augmentation],
    draws: list[list[float]],
    box: tuple[float, float, float, float],
    label: int = 1,
) -> tuple[Array, Array, Array]:
    boxes = tf.constant([box, (0.0, 0.0, 0.0, 0.0)], tf.float32)
    geometry = (tf.constant(marked(box)), boxes, tf.constant([label, 0]))
    image, boxes, classes = augment_geometry(chosen, tf.constant(draws), geometry)
    return image.numpy(), boxes.numpy(), classes.numpy()


def bounds(image: Array) -> list[float]:
    """Return the box of the white pixels."""
    rows, columns = np.nonzero(image[..., 0])
    height, width = image.shape[:2]
    return [
        rows.min() / height, columns.min() / width,
        (rows.max() + 1) / height, (columns.max() + 1) / width,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"randomHorizontalFlip": {}}, [0.25, 0.875, 0.5, 1.0]),
        ({"randomVerticalFlip": {}}, [0.5, 0.0, 0.75, 0.125]),
        ({"randomRotation90": {}}, [0.875, 0.25, 1.0, 0.5]),
    ],
)
def test_boxes_move_with_their_pixels(change: dict[str, Any], expected: list[float]) -> None:
    image, boxes, classes = changed(steps(change), [[0.0] * 4], BOX)
    assert boxes[0].tolist() == expected == bounds(image)
    assert boxes[1].tolist() == [0.0] * 4
    assert classes.tolist() == [1, 0]


@pytest.mark.parametrize(
    "change", ["randomHorizontalFlip", "randomVerticalFlip", "randomRotation90"]
)
def test_crowds_move_as_boxes_do(change: str) -> None:
    _, of_a_box, _ = changed(steps({change: {}}), [[0.0] * 4], BOX)
    _, of_a_crowd, classes = changed(steps({change: {}}), [[0.0] * 4], BOX, label=CROWD)
    assert of_a_crowd.tolist() == of_a_box.tolist()
    assert classes.tolist() == [CROWD, 0]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param((0.25, 0.25, 0.75, 0.75), [0.5, 0.5, 1.0, 1.0], id="a part: it stays"),
        pytest.param((0.0, 0.0, 1.0, 1.0), [0.0, 0.0, 1.0, 1.0], id="all of the window"),
        pytest.param((0.5, 0.5, 1.0, 1.0), None, id="nothing: it is dropped"),
    ],
)
def test_a_crop_keeps_the_part_of_a_crowd_inside_it(
    box: tuple[float, float, float, float], expected: list[float] | None
) -> None:
    half = steps({"randomScaleCrop": {"minScale": 0.5}})
    _, boxes, classes = changed(half, [[0.0] * 4], box, label=CROWD)
    assert boxes[0].tolist() == (expected or [0.0] * 4)
    assert classes.tolist() == [CROWD if expected else 0, 0]


@pytest.mark.parametrize("name", ["randomHorizontalFlip", "randomVerticalFlip", "randomRotation90"])
def test_a_draw_above_the_probability_changes_nothing(name: str) -> None:
    image, boxes, _ = changed(steps({name: {"probability": 0.3}}), [[0.3] * 4], BOX)
    assert np.array_equal(image, marked(BOX))
    assert boxes[0].tolist() == list(BOX)


def test_a_rotated_image_has_its_sides_swapped_and_four_turns_are_none() -> None:
    turn: dict[str, Any] = {"randomRotation90": {}}
    once, _, _ = changed(steps(turn), [[0.0] * 4], BOX)
    assert once.shape == (WIDTH, HEIGHT, 3)
    image, boxes, _ = changed(steps(turn, turn, turn, turn), [[0.0] * 4] * 4, BOX)
    assert np.array_equal(image, marked(BOX))
    assert boxes[0].tolist() == pytest.approx(BOX)


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        pytest.param((0.0, 0.0, 0.25, 0.25), True, id="a box inside stays"),
        pytest.param((0.25, 0.25, 0.625, 0.625), True, id="centre inside: clipped"),
        pytest.param((0.25, 0.25, 0.75, 0.75), False, id="centre on the edge: dropped"),
        pytest.param((0.75, 0.75, 1.0, 1.0), False, id="a box outside: dropped"),
    ],
)
def test_crops_keep_boxes_by_their_centre(
    box: tuple[float, float, float, float], *, kept: bool
) -> None:
    # The smallest scale, at the upper left corner: half of each side.
    crop = steps({"randomScaleCrop": {"minScale": 0.5}})
    image, boxes, classes = changed(crop, [[0.0] * 4], box)
    assert image.shape == (HEIGHT // 2, WIDTH // 2, 3)
    assert classes.tolist() == [int(kept), 0]
    assert boxes[0].tolist() == (bounds(image) if kept else [0.0] * 4)


def test_crops_are_anywhere_in_the_image() -> None:
    crop = steps({"randomScaleCrop": {"minScale": 0.5}})
    image, boxes, _ = changed(crop, [[0.0, 0.999, 0.999, 0.0]], (0.75, 0.75, 1.0, 1.0))
    assert boxes[0].tolist() == [0.5, 0.5, 1.0, 1.0] == bounds(image)


def test_a_crop_of_the_whole_image_changes_nothing() -> None:
    crop = steps({"randomScaleCrop": {"minScale": 1.0}})
    image, boxes, _ = changed(crop, [[0.5] * 4], BOX)
    assert np.array_equal(image, marked(BOX))
    assert boxes[0].tolist() == list(BOX)


def test_geometry_is_applied_in_the_order_of_the_list() -> None:
    flip: dict[str, Any] = {"randomHorizontalFlip": {}}
    turn: dict[str, Any] = {"randomRotation90": {}}
    draws = [[0.0] * 4] * 2
    _, one, _ = changed(steps(flip, turn), draws, BOX)
    _, other, _ = changed(steps(turn, flip), draws, BOX)
    assert one[0].tolist() != other[0].tolist()


COLORS = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0}


@pytest.mark.parametrize(
    ("colors", "pixel", "expected"),
    [
        pytest.param({}, [100.0, 120.0, 140.0], [100.0, 120.0, 140.0], id="nothing"),
        pytest.param({"brightness": 0.2}, [0.0, 51.0, 250.0], [51.0, 102.0, 255.0], id="brighter"),
        pytest.param(
            {"contrast": 1.0},
            [100.0, 120.0, 140.0],
            [100.0, 120.0, 140.0],
            id="contrast of one colour",
        ),
        pytest.param(
            {"saturation": 1.0}, [80.0, 80.0, 80.0], [80.0, 80.0, 80.0], id="grey stays grey"
        ),
    ],
)
def test_colours_at_the_largest_draw(
    colors: dict[str, float], pixel: list[float], expected: list[float]
) -> None:
    chosen = steps({"randomDistortColor": {**COLORS, **colors}})
    image = augment_colors(chosen, tf.ones([1, 4]), tf.fill([2, 2, 1], 1.0) * tf.constant(pixel))
    assert image.numpy()[0, 0].tolist() == pytest.approx(expected, abs=1e-3)


def test_less_saturation_moves_towards_grey_and_more_contrast_away_from_the_mean() -> None:
    picture = tf.constant([[[200.0, 0.0, 0.0], [0.0, 0.0, 0.0]]])
    grey = augment_colors(
        steps({"randomDistortColor": {**COLORS, "saturation": 1.0}}), tf.zeros([1, 4]), picture
    )
    assert grey.numpy()[0, 0].tolist() == pytest.approx([59.8, 59.8, 59.8], abs=1e-3)
    strong = augment_colors(
        steps({"randomDistortColor": {**COLORS, "contrast": 0.2}}), tf.ones([1, 4]), picture
    )
    assert strong.numpy()[0, :, 0].tolist() == pytest.approx([220.0, 0.0])


def test_colours_leave_geometry_alone_and_the_other_way_round() -> None:
    image, boxes, _ = changed(steps({"randomDistortColor": {}}), [[0.9] * 4], BOX)
    assert np.array_equal(image, marked(BOX))
    assert boxes[0].tolist() == list(BOX)
    same = tf.fill([2, 2, 3], 7.0)
    assert augment_colors(steps({"randomVerticalFlip": {}}), tf.zeros([1, 4]), same) is same


def test_draws_are_a_function_of_seed_and_sample() -> None:
    chosen = steps({"randomHorizontalFlip": {}}, {"randomVerticalFlip": {}})
    one, again, other_sample, other_seed = (
        draw_uniform(chosen, seed, tf.constant(sample, tf.int64)).numpy()
        for seed, sample in ((1, 5), (1, 5), (1, 6), (2, 5))
    )
    assert one.shape == (2, 4)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other_sample)
    assert not np.array_equal(one, other_seed)
    assert ((one >= 0.0) & (one < 1.0)).all()


WHOLE = {"minObjectCovered": 0.0, "minArea": 1.0, "minAspectRatio": 2.0, "maxAspectRatio": 2.0}


def test_a_window_that_fits_nothing_but_the_image_changes_nothing() -> None:
    image, boxes, classes = changed(steps({"randomCropImage": WHOLE}), [[0.5, 0.5, 0.1, 0.2]], BOX)
    np.testing.assert_array_equal(image, marked(BOX))
    np.testing.assert_allclose(boxes[0], BOX, atol=1e-6)
    assert classes.tolist() == [1, 0]


@pytest.mark.parametrize("name", ["randomCropImage", "ssdRandomCrop"])
@pytest.mark.parametrize("seed", range(8))
def test_a_box_stays_on_what_it_showed_when_a_window_is_cut(name: str, seed: int) -> None:
    window = {"minArea": 0.2, "maxArea": 0.6, "minObjectCovered": 1.0, "overlapThreshold": 1.0}
    change = {name: window if name == "randomCropImage" else {"operations": [window]}}
    draws = [[0.5, 0.0, seed / 8, 0.3]]
    image, boxes, classes = changed(steps(change), draws, (0.25, 0.25, 0.5, 0.5))
    assert image.shape[0] * image.shape[1] < HEIGHT * WIDTH
    assert classes.tolist() == [1, 0]
    np.testing.assert_allclose(boxes[0], bounds(image), atol=1e-5)
    np.testing.assert_array_equal(boxes[1], 0)


@pytest.mark.parametrize(("threshold", "label", "kept"), [(0.9, 1, 0), (0.0, 1, 1), (0.9, -2, -2)])
def test_a_box_with_too_little_left_is_dropped_unless_it_is_a_crowd(
    threshold: float, label: int, kept: int
) -> None:
    window = {"minObjectCovered": 0.0, "minArea": 0.2, "maxArea": 0.3}
    change = {"randomCropImage": {**window, "overlapThreshold": threshold}}
    _, boxes, classes = changed(steps(change), [[0.5, 0.5, 0.1, 0.2]], (0.0, 0.0, 1.0, 1.0), label)
    assert classes.tolist() == [kept, 0]
    np.testing.assert_array_equal(boxes[0], [0, 0, 1, 1] if kept else 0)


def test_an_image_is_kept_with_the_configured_probability() -> None:
    window = {"minArea": 0.2, "maxArea": 0.6, "keepProbability": 0.5}
    kept, _, _ = changed(steps({"randomCropImage": window}), [[0.49, 0, 0.1, 0.2]], BOX)
    cut, _, _ = changed(steps({"randomCropImage": window}), [[0.51, 0, 0.1, 0.2]], BOX)
    np.testing.assert_array_equal(kept, marked(BOX))
    assert cut.shape != kept.shape


def test_one_of_the_windows_is_chosen() -> None:
    windows = [WHOLE, {"minArea": 0.2, "maxArea": 0.6}]
    chosen = steps({"ssdRandomCrop": {"operations": windows}})
    first, _, _ = changed(chosen, [[0.5, 0.49, 0.1, 0.2]], BOX)
    second, _, _ = changed(chosen, [[0.5, 0.51, 0.1, 0.2]], BOX)
    assert first.shape == (HEIGHT, WIDTH, 3) != second.shape


GREY_AND_RED = np.array([[[100.0, 100.0, 100.0], [200.0, 40.0, 40.0]]], np.float32)


@pytest.mark.parametrize(
    ("change", "draw", "expected"),
    [
        ({"randomAdjustBrightness": {"maxDelta": 0.2}}, 1.0, GREY_AND_RED + 51.0),
        ({"randomAdjustBrightness": {"maxDelta": 0.2}}, 0.5, GREY_AND_RED),
        (
            {"randomAdjustContrast": {"minDelta": 0.5, "maxDelta": 1.5}},
            0.0,
            [[[125.0, 85.0, 85.0], [175.0, 55.0, 55.0]]],
        ),
        (
            {"randomAdjustSaturation": {"minDelta": 0.5, "maxDelta": 1.5}},
            0.0,
            [[[100.0, 100.0, 100.0], [200.0, 120.0, 120.0]]],
        ),
        # A third of the circle makes red green.
        (
            {"randomAdjustHue": {"maxDelta": 0.5}},
            0.5 + 1 / 3,
            [[[100.0, 100.0, 100.0], [40.0, 200.0, 40.0]]],
        ),
    ],
    ids=["brightness", "no brightness", "contrast", "saturation", "hue"],
)
def test_colours_are_adjusted_as_the_od_api_does(
    change: dict[str, Any], draw: float, expected: Array
) -> None:
    uniform = tf.constant([[draw, 0.0, 0.0, 0.0]])
    found = augment_colors(steps(change), uniform, tf.constant(GREY_AND_RED))
    np.testing.assert_allclose(found, np.minimum(expected, 255.0), atol=0.01)
