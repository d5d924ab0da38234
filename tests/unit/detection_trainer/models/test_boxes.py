import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.models.boxes import SCALES, area, decode, encode, intersection_over_union

BOXES = tf.constant([[10.0, 10.0, 20.0, 15.0], [0.2, 0.1, 0.5, 0.4]])
ANCHORS = tf.constant([[15.0, 12.0, 30.0, 18.0], [0.1, 0.0, 0.7, 0.9]])


def test_encoding_is_as_in_the_od_apis_own_test() -> None:
    # faster_rcnn_box_coder_test.py, test_get_correct_relative_codes_after_encoding
    expected = [
        [-0.5, -0.416666, -0.405465, -0.182321],
        [-0.083333, -0.222222, -0.693147, -1.098612],
    ]
    assert np.allclose(encode(BOXES, ANCHORS), np.array(expected) * SCALES, atol=1e-4)


def test_decoding_undoes_encoding() -> None:
    assert np.allclose(decode(encode(BOXES, ANCHORS), ANCHORS), BOXES, atol=1e-5)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        pytest.param([0, 0, 2, 2], 1.0, id="the same box"),
        pytest.param([0, 0, 2, 1], 0.5, id="half of it"),
        pytest.param([1, 1, 3, 3], 1 / 7, id="a corner"),
        pytest.param([2, 0, 4, 2], 0.0, id="a common edge"),
        pytest.param([5, 5, 6, 6], 0.0, id="apart in both directions"),
        pytest.param([1, 1, 1, 1], 0.0, id="a point inside"),
    ],
)
def test_overlap(box: list[int], expected: float) -> None:
    boxes, anchors = tf.constant([box], tf.float32), tf.constant([[0.0, 0.0, 2.0, 2.0]])
    assert intersection_over_union(boxes, anchors).numpy() == pytest.approx(expected)
    assert intersection_over_union(boxes[None], anchors).shape == (1, 1, 1)


def test_two_points_do_not_overlap() -> None:
    point = tf.constant([[1.0, 1.0, 1.0, 1.0]])
    assert intersection_over_union(point, point).numpy() == 0.0


def test_a_box_turned_inside_out_has_no_area() -> None:
    assert area(tf.constant([[2.0, 2.0, 1.0, 1.0], [0.0, 0.0, 2.0, 3.0]])).numpy().tolist() == [
        0,
        6,
    ]
