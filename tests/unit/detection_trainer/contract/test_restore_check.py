from typing import Any

import pytest

from detection_trainer.contract.model import Model
from detection_trainer.contract.restore_check import RestorePlan, compare_for_restore
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.sources import RestoreMode
from tests.support.trainer.detectors import small_model

CLASSIFICATION, DETECTION, FULL = RestoreMode
Shapes = dict[str, tuple[int, ...]]


def compare(
    mode: RestoreMode,
    source: Model,
    target: Model,
    source_classes: tuple[str, ...] = ("tree",),
    target_classes: tuple[str, ...] = ("tree",),
) -> RestorePlan:
    return compare_for_restore(
        mode,
        variable_shapes(source, len(source_classes)),
        variable_shapes(target, len(target_classes)),
        source_classes,
        target_classes,
        source_model=source,
        target_model=target,
    )


def groups(paths: list[str]) -> set[str]:
    return {path.partition("/")[0] for path in paths}


@pytest.mark.parametrize(
    ("mode", "taken", "fresh"),
    [
        (CLASSIFICATION, {"backbone"}, {"feature_extractor", "box_head", "class_head"}),
        (DETECTION, {"backbone", "feature_extractor"}, {"box_head", "class_head"}),
        (FULL, {"backbone", "feature_extractor", "box_head", "class_head"}, set()),
    ],
)
def test_each_mode_restores_its_groups_and_leaves_the_others_fresh(
    mode: RestoreMode, taken: set[str], fresh: set[str]
) -> None:
    plan = compare(mode, small_model(), small_model())
    assert plan.differences == []
    assert (groups(plan.assign), groups(plan.fresh)) == (taken, fresh)
    assert len(plan.assign) + len(plan.fresh) == len(variable_shapes(small_model(), 1))
    assert plan.reasons == {
        path: f"mode {mode} does not restore {path.partition('/')[0]}" for path in plan.fresh
    }


def test_a_random_state_that_the_source_lacks_is_fresh_for_another_reason() -> None:
    shapes = {"backbone/dropout/seed_generator_state": (2,), "backbone/conv/kernel": (3,)}
    source = {"backbone/conv/kernel": (3,)}
    plan = compare_for_restore(CLASSIFICATION, source, shapes, None, None)
    assert plan.reasons == {
        "backbone/dropout/seed_generator_state": "a random state that the source does not have"
    }


THIN_HEADS = {"boxPredictor": {"depth": 16, "numLayersBeforePredictor": 1}}
DEEP_PYRAMID = {"fpn": {"additionalLayerDepth": 32}}


@pytest.mark.parametrize(
    ("changes", "classes", "fitting"),
    [
        pytest.param({}, ("tree",), [CLASSIFICATION, DETECTION, FULL], id="the same model"),
        pytest.param({}, ("car",), [CLASSIFICATION, DETECTION], id="another class name"),
        pytest.param({}, ("tree", "car"), [CLASSIFICATION, DETECTION], id="another class count"),
        pytest.param(THIN_HEADS, ("tree",), [CLASSIFICATION, DETECTION], id="other heads"),
        pytest.param(
            {"anchors": {"anchorScale": 4.0, "aspectRatios": [1.0]}},
            ("tree",),
            [CLASSIFICATION, DETECTION],
            id="other anchors of the same number",
        ),
        pytest.param(DEEP_PYRAMID, ("tree",), [CLASSIFICATION], id="a deeper pyramid"),
        pytest.param(
            {"fpn": {"maxLevel": 5, "additionalLayerDepth": 16}},
            ("tree",),
            [CLASSIFICATION],
            id="fewer levels",
        ),
        pytest.param(
            {"fpn": {"maxLevel": 4, "additionalLayerDepth": 16}},
            ("tree",),
            [CLASSIFICATION],
            id="a shorter backbone of the same kind",
        ),
        pytest.param({"backbone": "small"}, ("tree",), [], id="another backbone"),
        pytest.param({"imageSize": 128}, ("tree",), list(RestoreMode), id="another image size"),
    ],
)
def test_what_fits_where(
    changes: dict[str, Any], classes: tuple[str, ...], fitting: list[RestoreMode]
) -> None:
    for mode in RestoreMode:
        plan = compare(mode, small_model(), small_model(**changes), target_classes=classes)
        assert plan.fitting == fitting
        assert (plan.differences == []) == (mode in fitting)


def test_a_longer_resnet_is_not_cut_to_a_shorter_one() -> None:
    # ResNet50's paths and shapes all occur in ResNet101.
    source, target = small_model(backbone="resnet101"), small_model(backbone="resnet50")
    plan = compare(CLASSIFICATION, source, target)
    assert "backbone: the source has [resnet101], the model [resnet50]" in plan.differences
    unnamed = compare_for_restore(
        CLASSIFICATION, variable_shapes(source, 1), variable_shapes(target, 1), None, None
    )
    assert any("the model has no such variable" in difference for difference in unnamed.differences)


def plain(mode: RestoreMode, source: Shapes, target: Shapes) -> RestorePlan:
    return compare_for_restore(mode, source, target, None, None)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        pytest.param(
            {"backbone/a/kernel": (3, 3)},
            "backbone/a/kernel: the source has shape (3, 3), the model expects (3, 4)",
            id="another shape",
        ),
        pytest.param(
            {},
            "backbone/a/kernel: missing in the source, the model expects shape (3, 4)",
            id="missing",
        ),
        pytest.param(
            {"backbone/a/kernel": (3, 4), "backbone/b/kernel": (1,)},
            "backbone/b/kernel: the source has shape (1,), the model has no such variable",
            id="unknown",
        ),
    ],
)
def test_a_difference_names_the_variable_and_both_shapes(source: Shapes, sentence: str) -> None:
    plan = plain(CLASSIFICATION, source, {"backbone/a/kernel": (3, 4)})
    assert plan.differences == [sentence]


def test_random_state_may_be_absent_and_then_stays_fresh() -> None:
    state = "backbone/drop/seed_generator_state"
    target: Shapes = {"backbone/a/kernel": (3, 4), state: (2,)}
    without = plain(CLASSIFICATION, {"backbone/a/kernel": (3, 4)}, target)
    assert (without.differences, without.fresh) == ([], [state])
    assert plain(CLASSIFICATION, target, target).assign == ["backbone/a/kernel", state]


def test_a_refusal_names_the_differences_and_a_mode_that_fits() -> None:
    plan = compare(FULL, small_model(), small_model(), ("tree",), ("Dead", "Alive"))
    message = plan.refusal("file:///runs/trees/step-00000300")
    assert message.startswith(
        "restore mode full does not fit file:///runs/trees/step-00000300, and no variable was "
        "assigned: classes: the source has [tree], the model [Dead, Alive]; "
        "class_head/predictor/kernel: the source has shape (3, 3, 8, 4), the model expects (3, "
        "3, 8, 6); class_head/predictor/bias"
    )
    assert message.endswith(
        "To fix this: set restore.mode to classification or detection, which this source fits"
    )


def test_a_refusal_counts_what_it_does_not_show() -> None:
    plan = compare(DETECTION, small_model(), small_model(backbone="small"))
    message = plan.refusal("file:///x")
    assert f"; and {len(plan.differences) - 3} more. " in message
    assert message.endswith("no restore mode fits: choose another source or another model")


def test_long_class_lists_are_shortened() -> None:
    many = tuple(f"class{i}" for i in range(90))
    plan = compare(FULL, small_model(), small_model(), many, ("tree",))
    assert "class9, … (90 in all)], the model [tree]" in plan.differences[0]
