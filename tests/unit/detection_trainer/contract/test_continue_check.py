from dataclasses import replace
from typing import Any

import pytest

from detection_trainer.contract.continue_check import (
    RunTraits,
    compare_for_continue,
    continue_refusal,
    reached_refusal,
)
from sandbox.samples.trainings import TINY_MODEL
from tests.support.trainer.runs import parsed

TRAITS = RunTraits.of_spec(parsed().spec, ["tree", "shrub"], {"box_head/bias": (4,)})


def of(**changes: Any) -> RunTraits:
    return RunTraits.of_spec(parsed(**changes).spec, ["tree", "shrub"])


@pytest.mark.parametrize(
    ("target", "differences"),
    [
        (TRAITS, []),
        (
            of(batchSize=7, seed=3, steps=900, optimizer={"learningRate": 0.5, "epsilon": 1e-3}),
            [],
        ),
        (
            replace(TRAITS, classes=["shrub", "tree"]),
            ["classes: there ['tree', 'shrub'], here ['shrub', 'tree']"],
        ),
        (
            of(model={**TINY_MODEL, "imageSize": 128, "precision": "mixed_float16"}),
            [
                "model.imageSize: there 64, here 128",
                "model.precision: there float32, here mixed_float16",
            ],
        ),
        (of(optimizer={"name": "adam"}), ["optimizer.name: there momentum, here adam"]),
        (
            of(optimizer={"movingAverageDecay": 0.9}),
            [
                (
                    "optimizer.movingAverageDecay (use_moving_average of a pipeline.config): "
                    "averages there none, here kept"
                )
            ],
        ),
        (of(freeze=["backbone"]), ["freeze: there [], here ['backbone']"]),
        (
            replace(TRAITS, shapes={"box_head/bias": (8,), "class_head/bias": (2,)}),
            [
                "box_head/bias: there (4,), here (8,)",
                "class_head/bias: there nothing, here (2,)",
            ],
        ),
        (
            replace(TRAITS, classes=["car"], optimizer="adam"),
            [
                "classes: there ['tree', 'shrub'], here ['car']",
                "optimizer.name: there momentum, here adam",
            ],
        ),
    ],
    ids=[
        "the same run",
        "other data, steps and rates",
        "ids of the classes are swapped",
        "another model",
        "another optimizer",
        "averages on one side only",
        "a group is frozen on one side only",
        "variables of other shapes",
        "several differences at once",
    ],
)
def test_what_differs_is_named(target: RunTraits, differences: list[str]) -> None:
    assert compare_for_continue(TRAITS, target) == differences


@pytest.mark.parametrize("unknown", ["classes", "model", "frozen", "shapes"])
def test_what_one_side_does_not_know_is_not_compared(unknown: str) -> None:
    other = RunTraits(
        "momentum",
        averaged=False,
        classes=["car"],
        model=parsed(model={**TINY_MODEL, "imageSize": 128}).spec.model,
        frozen=frozenset({"backbone"}),
        shapes={"box_head/bias": (8,)},
    )
    shown = {"frozen": "freeze", "shapes": "box_head"}.get(unknown, unknown)
    assert any(d.startswith(shown) for d in compare_for_continue(TRAITS, other))
    fewer: dict[str, Any] = {unknown: None}
    known = compare_for_continue(TRAITS, replace(other, **fewer))
    assert len(known) == 3
    assert not any(difference.startswith(shown) for difference in known)


def test_freeze_in_another_order_is_the_same() -> None:
    both = ["backbone", "feature_extractor"]
    assert compare_for_continue(of(freeze=both), of(freeze=both[::-1])) == []


def test_a_refusal_has_the_first_differences_and_the_remedy() -> None:
    text = continue_refusal("s3://runs/a", [f"difference {i}" for i in range(7)])
    assert text.startswith("continueFrom s3://runs/a needs a run with the same classes, model, ")
    assert "difference 4; and 2 more: use restore instead" in text


@pytest.mark.parametrize(("steps", "refused"), [(39, True), (40, True), (41, False)])
def test_the_target_is_beyond_the_source_s_step(steps: int, *, refused: bool) -> None:
    refusal = reached_refusal("s3://runs/a", 40, steps)
    assert (refusal is not None) == refused
    assert refusal is None or refusal.endswith("set steps above 40")
