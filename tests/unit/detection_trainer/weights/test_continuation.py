from pathlib import Path
from typing import Any

import pytest

from detection_trainer.checkpoints.manifest import (
    MODEL_FILE,
    OPTIMIZER_FILE,
    Manifest,
    VariableRecord,
)
from detection_trainer.errors import InvalidConfigError, RestoreRefusedError
from detection_trainer.storage import open_folder
from detection_trainer.weights.continuation import continued, require_continuable, traits_of
from sandbox.samples.trainings import TINY_MODEL
from tests.support.trainer.runs import commit, parsed

URI = "s3://runs/other/step-00000040"


@pytest.fixture
def source(tmp_path: Path) -> Manifest:
    return commit(open_folder(tmp_path.as_uri()), 40).manifest


def test_the_same_model_classes_and_optimizer_can_continue(source: Manifest) -> None:
    require_continuable(source, URI, parsed(batchSize=8, seed=3).spec, ["tree"])
    restored = continued(source, URI)
    assert restored.mode is None
    assert restored.step == 40
    assert restored.variables.restored == 3
    assert restored.groups["backbone"].restored == 2


@pytest.mark.parametrize(
    ("changes", "classes", "difference"),
    [
        ({}, ["tree", "car"], "classes: there ['tree'], here ['tree', 'car']"),
        (
            {"model": {**TINY_MODEL, "imageSize": 128}},
            ["tree"],
            "model.imageSize: there 64, here 128",
        ),
        (
            {"model": {**TINY_MODEL, "fpn": {"maxLevel": 6, "additionalLayerDepth": 16}}},
            ["tree"],
            "model.fpn.maxLevel: there 5, here 6",
        ),
        ({"optimizer": {"name": "adam"}}, ["tree"], "optimizer.name: there momentum, here adam"),
        (
            {"optimizer": {"movingAverageDecay": 0.9}},
            ["tree"],
            (
                "optimizer.movingAverageDecay (use_moving_average of a pipeline.config): "
                "averages there none, here kept"
            ),
        ),
        ({"freeze": ["backbone"]}, ["tree"], "freeze: there [], here ['backbone']"),
    ],
)
def test_a_difference_is_refused_and_named(
    source: Manifest, changes: dict[str, Any], classes: list[str], difference: str
) -> None:
    spec = parsed(**changes).spec
    with pytest.raises(RestoreRefusedError, match=r"use restore instead \(mode") as refused:
        require_continuable(source, URI, spec, classes)
    assert refused.value.differences == (difference,)


def test_where_only_the_optimizer_differs_all_weights_can_be_kept(source: Manifest) -> None:
    adam = parsed(optimizer={"name": "adam"}).spec
    with pytest.raises(RestoreRefusedError, match="mode full keeps all weights"):
        require_continuable(source, URI, adam, ["tree"])
    with pytest.raises(RestoreRefusedError, match="mode detection keeps"):
        require_continuable(source, URI, adam, ["tree", "car"])


def test_a_target_that_the_source_has_passed_is_refused(source: Manifest) -> None:
    with pytest.raises(InvalidConfigError, match="set steps above 40"):
        require_continuable(source, URI, parsed(steps=40).spec, ["tree"])


@pytest.mark.parametrize(
    ("paths", "frozen"),
    [
        (["backbone/a", "feature_extractor/b", "box_head/c"], frozenset()),
        (["feature_extractor/b", "box_head/c"], frozenset({"backbone"})),
        (["box_head/c"], frozenset({"backbone", "feature_extractor"})),
        ([], None),
    ],
    ids=["all are trained", "the backbone is frozen", "both are frozen", "no state to judge by"],
)
def test_what_was_frozen_is_read_from_the_optimizer_s_state(
    source: Manifest, paths: list[str], frozen: frozenset[str] | None
) -> None:
    def variable(path: str, file: str) -> VariableRecord:
        return VariableRecord(
            group=path.split("/", maxsplit=1)[0], file=file, shape=(1,), dtype="float32"
        )

    weights = ["backbone/a", "feature_extractor/b", "box_head/c"]
    slots = ["optimizer/iteration", *(f"optimizer/momentum/{path}" for path in paths)]
    variables = {path: variable(path, MODEL_FILE) for path in weights}
    variables |= {path: variable(path, OPTIMIZER_FILE) for path in slots}
    manifest = source.model_copy(update={"variables": variables})
    assert traits_of(manifest).frozen == frozen
