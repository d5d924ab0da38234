import itertools

import numpy as np
import pytest
from PIL import Image

from detection_trainer.evaluation.drawing import Finding, draw_findings

CLASSES = [f"class {number}" for number in range(12)]
GROUND = (90, 120, 90)


def drawn(
    *findings: Finding, size: tuple[int, int] = (300, 200)
) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    image = Image.new("RGB", size, GROUND)
    pixels = np.asarray(draw_findings(image, findings, CLASSES))
    assert image.getpixel((0, 0)) == GROUND
    return pixels


def frame_colour(class_name: str) -> tuple[int, ...]:
    pixels = drawn(Finding(class_name, 0.9, (60.0, 50.0, 160.0, 250.0)))
    return tuple(int(channel) for channel in pixels[159, 150])


def test_each_class_has_a_colour_of_its_own_that_is_not_close_to_anothers() -> None:
    colours = [frame_colour(name) for name in CLASSES]
    for one, other in itertools.combinations(colours, 2):
        assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 40


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((60.0, 50.0, 160.0, 250.0), id="in the middle"),
        pytest.param((0.0, 0.0, 199.0, 299.0), id="the whole image"),
        pytest.param((180.0, 280.0, 199.0, 299.0), id="in the corner below"),
        pytest.param((0.0, 290.0, 20.0, 299.0), id="in the corner above"),
    ],
)
def test_a_label_is_readable_wherever_the_box_is(box: tuple[float, ...]) -> None:
    ymin, xmin, ymax, xmax = box
    pixels = drawn(Finding("class 3", 0.5, (ymin, xmin, ymax, xmax)))
    colour = np.array(frame_colour("class 3"))
    ground = (np.abs(pixels.astype(int) - colour).max(axis=2) < 10).sum()
    ink = (pixels.max(axis=2) < 60).sum() + (pixels.min(axis=2) > 200).sum()
    assert ground > 300
    assert ink > 50


@pytest.mark.parametrize("name", CLASSES)
def test_ink_has_contrast_on_every_background_colour(name: str) -> None:
    weights = np.array([0.299, 0.587, 0.114])
    label = drawn(Finding(name, 0.5, (60.0, 50.0, 160.0, 250.0)))[46:60, 52:100]
    contrast = np.abs(label @ weights - np.array(frame_colour(name)) @ weights)
    assert (contrast > 100).sum() > 25


def test_the_most_certain_is_drawn_on_top() -> None:
    box = (60.0, 50.0, 160.0, 250.0)
    pixels = drawn(Finding("class 1", 0.9, box), Finding("class 2", 0.4, box))
    assert tuple(pixels[159, 150]) == frame_colour("class 1")
