"""The OD API's checkpoints as a source of weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.contract.base import dump
from detection_trainer.contract.restore_check import restored_groups
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import (
    DamagedCheckpointError,
    NotFoundError,
    RestoreRefusedError,
    TrainerError,
)
from detection_trainer.models import build_detector
from detection_trainer.training.step import build_training_step
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights, find_bundle, find_strays
from detection_trainer.weights.odapi.continuation import load_state, require_continuable
from detection_trainer.weights.odapi.names import object_paths
from detection_trainer.weights.restore import restore
from detection_trainer.weights.sources import find_run
from tests.support.trainer.bundles import SLOT, VALUE, write_bundle
from tests.support.trainer.detectors import small_model

MODEL = small_model(
    backbone="mobilenet_v2",
    fpn={"useDepthwise": True, "additionalLayerDepth": 8},
    boxPredictor={"useDepthwise": True, "sharePredictionTower": True, "depth": 8},
)


def twins(num_classes: int, seed: int = 1) -> dict[str, Any]:
    """Return what the OD API would keep of a model with `num_classes`: path -> value."""
    detector = build_detector(MODEL, num_classes, seed=seed)
    paths = object_paths(MODEL, num_classes)
    return {f"model/{paths[p]}": v.numpy() for p, v in detector.variables.items()}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model_dir after 25 steps of training, as the OD API's main loop leaves it."""
    folder = tmp_path_factory.mktemp("model_dir")
    model = twins(2)
    slots = {f"{p}{SLOT}{VALUE}": np.full_like(v, 0.5) for p, v in model.items()}
    tensors = {f"{path}{VALUE}": value for path, value in model.items()} | slots
    write_bundle(folder / "ckpt-1", {f"save_counter{VALUE}": np.array(1, np.int64)})
    write_bundle(folder / "ckpt-2", {**tensors, f"step{VALUE}": np.array(25, np.int64)})
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "/home/someone/model_dir/ckpt-2"\n'
        'all_model_checkpoint_paths: "/home/someone/model_dir/ckpt-1"\n'
    )
    return folder


def training_spec(**changes: Any) -> TrainingSpec:
    document = {
        "model": dump(MODEL),
        "dataset": {"train": {"uri": "file:///data/*.tfrecord"}, "classes": ["a", "b"]},
        "steps": 50,
        "checkpoints": {"storage": {"uri": "file:///run"}},
    }
    return TrainingSpec.model_validate(document | changes)


def weights(uri: str) -> ODAPIWeights:
    bundle = find_bundle(uri, {})
    assert bundle is not None
    return ODAPIWeights(bundle, MODEL)


@pytest.mark.parametrize("end", ["", "/", "/ckpt-2", "/ckpt-2.index"])
def test_a_model_dir_and_a_checkpoint_of_it_are_found(model_dir: Path, end: str) -> None:
    source = weights(model_dir.as_uri() + end)
    assert source.uri == f"{model_dir.as_uri()}/ckpt-2"
    assert source.step == 25
    assert source.shapes == {
        p: tuple(v.shape) for p, v in build_detector(MODEL, 2).variables.items()
    }


def test_elsewhere_there_is_none(tmp_path: Path) -> None:
    assert find_bundle(tmp_path.as_uri(), {}) is None


@pytest.mark.parametrize("mode", list(RestoreMode))
def test_each_mode_restores_only_its_groups(model_dir: Path, mode: RestoreMode) -> None:
    detector = build_detector(MODEL, 2, seed=7)
    fresh = {path: variable.numpy() for path, variable in detector.variables.items()}
    trained, paths = twins(2), object_paths(MODEL, 2)
    result = restore(detector, mode, weights(model_dir.as_uri()), ["a", "b"])
    taken = restored_groups(mode)
    for path, variable in detector.variables.items():
        is_taken = detector.group_of(path) in taken
        expected = trained[f"model/{paths[path]}"] if is_taken else fresh[path]
        assert np.array_equal(variable.numpy(), expected), path
    assert result.variables.restored == sum(detector.group_of(p) in taken for p in fresh)
    assert result.step == 25


def test_full_with_another_count_of_classes_is_refused_untouched(model_dir: Path) -> None:
    detector = build_detector(MODEL, 3)
    before = {path: variable.numpy() for path, variable in detector.variables.items()}
    with pytest.raises(RestoreRefusedError, match="detection") as refused:
        restore(detector, RestoreMode.FULL, weights(model_dir.as_uri()), ["a", "b", "c"])
    assert any("class_head/predictor/bias" in d for d in refused.value.differences)
    assert all(np.array_equal(v.numpy(), before[p]) for p, v in detector.variables.items())


def test_a_classification_checkpoint_holds_the_backbone_alone(tmp_path: Path) -> None:
    root = "model/_feature_extractor/classification_backbone/"
    tensors = {
        f"feature_extractor/{path.removeprefix(root)}{VALUE}": value
        for path, value in twins(1).items()
        if path.startswith(root)
    }
    write_bundle(tmp_path / "ckpt-0", tensors)
    source = weights(f"{tmp_path.as_uri()}/ckpt-0")
    detector = build_detector(MODEL, 4, seed=7)
    result = restore(detector, RestoreMode.CLASSIFICATION, source, list("abcd"))
    assert result.variables.restored == len(tensors)
    with pytest.raises(RestoreRefusedError, match=r"set restore\.mode to classification"):
        restore(detector, RestoreMode.DETECTION, source, list("abcd"))


def test_another_depth_of_backbone_is_refused_by_its_variables(model_dir: Path) -> None:
    bundle = find_bundle(model_dir.as_uri(), {})
    assert bundle is not None
    other = small_model(backbone="mobilenet_v1")
    detector = build_detector(other, 2)
    with pytest.raises(RestoreRefusedError) as refused:
        restore(detector, RestoreMode.CLASSIFICATION, ODAPIWeights(bundle, other), ["a", "b"])
    assert any(d.startswith("backbone/_feature_extractor/") for d in refused.value.differences)


def test_a_checkpoint_from_before_the_model_was_built_is_recognised(model_dir: Path) -> None:
    with pytest.raises(RestoreRefusedError, match="holds no weights of a detector"):
        weights(f"{model_dir.as_uri()}/ckpt-1")


def test_a_backbone_that_the_od_api_lacks_is_refused_with_those_it_has(model_dir: Path) -> None:
    bundle = find_bundle(model_dir.as_uri(), {})
    assert bundle is not None
    with pytest.raises(RestoreRefusedError, match=r"resnet50_v1 \(ssd_resnet50_v1_fpn_keras\)"):
        ODAPIWeights(bundle, small_model())


def test_slots_of_the_optimizer_come_with_their_variables(model_dir: Path) -> None:
    source = weights(model_dir.as_uri())
    paths = ["box_head/predictor/bias", "backbone/Conv1/kernel"]
    slots = source.read_slots("momentum", paths)
    assert {path: slot.shape for path, slot in slots.items()} == {
        p: source.shapes[p] for p in paths
    }
    assert all((slot == 0.5).all() for slot in slots.values())


def test_a_run_continues_with_step_weights_and_momentum(model_dir: Path) -> None:
    spec = training_spec(optimizer={"name": "momentum"})
    step, update = (
        require_continuable(weights(model_dir.as_uri()), spec, 2),
        build_training_step(spec, 2),
    )
    trainable = list(update.detector.trainable_by_path)
    state = load_state(weights(model_dir.as_uri()), step, trainable, update.optimizer.variables)
    update.load(*state)
    trained, paths = twins(2), object_paths(MODEL, 2)
    for path, variable in update.detector.variables.items():
        assert np.array_equal(variable.numpy(), trained[f"model/{paths[path]}"]), path
    slots = {path: variable.numpy() for path, variable in update.optimizer.variables.items()}
    assert slots.pop("optimizer/iteration") == step == 25
    assert slots.keys() == {f"optimizer/momentum/{path}" for path in trainable}
    assert all((slot == 0.5).all() for slot in slots.values())


def averaged(folder: Path) -> str:
    """Write a checkpoint of a run with `use_moving_average`, and return where."""
    model = twins(2)
    tensors = {f"{path}{VALUE}": value for path, value in model.items()}
    for slot, number in (("ema_base_optimizer/momentum", 0.5), ("average", 0.25)):
        name = SLOT.replace("momentum", slot)
        tensors |= {f"{p}{name}{VALUE}": np.full_like(v, number) for p, v in model.items()}
    write_bundle(folder / "ckpt-2", {**tensors, f"step{VALUE}": np.array(25, np.int64)})
    return f"{folder.as_uri()}/ckpt-2"


def test_a_run_with_averages_continues_with_them(tmp_path: Path) -> None:
    source = weights(averaged(tmp_path))
    spec = training_spec(optimizer={"movingAverageDecay": 0.9})
    step, update = require_continuable(source, spec, 2), build_training_step(spec, 2)
    trainable = list(update.detector.trainable_by_path)
    update.load(*load_state(source, step, trainable, update.optimizer.variables))
    slots = {path: variable.numpy() for path, variable in update.optimizer.variables.items()}
    for path in trainable:
        assert (slots[f"optimizer/momentum/{path}"] == 0.5).all()
        assert (slots[f"optimizer/average/{path}"] == 0.25).all()
    with pytest.raises(RestoreRefusedError, match="averages there kept, here none"):
        require_continuable(source, training_spec(), 2)


@pytest.mark.parametrize(
    ("changes", "num_classes", "expected"),
    [
        pytest.param({}, 3, "class_head/predictor/pointwise_kernel", id="other classes"),
        pytest.param(
            {"optimizer": {"name": "adam"}},
            2,
            "there momentum, here adam; of the OD API's optimizers only momentum can be continued: "
            r"use restore instead \(mode full keeps all weights",
            id="Adam",
        ),
        pytest.param(
            {"optimizer": {"movingAverageDecay": 0.9}},
            2,
            r"use_moving_average of a pipeline\.config\): averages there none, here kept",
            id="averages that are not there",
        ),
        pytest.param({"steps": 25}, 2, "set steps above 25", id="nothing left to train"),
    ],
)
def test_a_run_that_cannot_continue_is_refused(
    model_dir: Path, changes: dict[str, Any], num_classes: int, expected: str
) -> None:
    spec = training_spec(**changes)
    with pytest.raises(TrainerError, match=expected):
        require_continuable(weights(model_dir.as_uri()), spec, num_classes)


@pytest.mark.parametrize(
    ("slots", "name"), [(("m", "v"), "adam"), (("rms", "momentum"), "rms_prop")]
)
@pytest.mark.parametrize("wrapped", ["", "ema_base_optimizer/"])
@pytest.mark.parametrize("here", ["adam", "momentum"])
def test_the_optimizer_of_a_model_dir_is_named(
    tmp_path: Path, slots: tuple[str, ...], name: str, wrapped: str, here: str
) -> None:
    tensors: dict[str, Any] = {f"{path}{VALUE}": value for path, value in twins(2).items()}
    for slot in slots:
        place = SLOT.replace("momentum", f"{wrapped}{slot}")
        tensors |= {f"{path}{place}{VALUE}": value for path, value in twins(2).items()}
    write_bundle(tmp_path / "ckpt-2", {**tensors, f"step{VALUE}": np.array(25, np.int64)})
    source = weights(f"{tmp_path.as_uri()}/ckpt-2")
    with pytest.raises(RestoreRefusedError, match=f"there {name}, here {here}.*mode full"):
        require_continuable(source, training_spec(optimizer={"name": here}), 2)


@pytest.mark.parametrize(
    "step", [np.array([1, 2]), np.array(0.5), np.array(-1), np.array(2**40), np.array(b"x")]
)
def test_an_invalid_step_is_refused(tmp_path: Path, step: Any) -> None:
    tensors: dict[str, Any] = {f"{path}{VALUE}": value for path, value in twins(2).items()}
    write_bundle(tmp_path / "ckpt-2", {**tensors, f"step{VALUE}": step})
    with pytest.raises(DamagedCheckpointError, match="use another checkpoint"):
        weights(f"{tmp_path.as_uri()}/ckpt-2")


def test_a_model_of_the_zoo_has_no_run_to_continue(tmp_path: Path) -> None:
    write_bundle(tmp_path / "ckpt-0", {f"{path}{VALUE}": value for path, value in twins(2).items()})
    with pytest.raises(RestoreRefusedError, match="use restore, with mode full"):
        require_continuable(weights(f"{tmp_path.as_uri()}/ckpt-0"), training_spec(), 2)


def test_a_variable_without_momentum_is_named(tmp_path: Path) -> None:
    tensors = {f"{path}{VALUE}": value for path, value in twins(2).items()}
    write_bundle(tmp_path / "ckpt-2", {**tensors, f"step{VALUE}": np.array(25, np.int64)})
    with pytest.raises(RestoreRefusedError, match="have no momentum in the checkpoint"):
        load_state(weights(f"{tmp_path.as_uri()}/ckpt-2"), 25, ["box_head/predictor/bias"], {})


def test_a_state_file_that_names_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("")
    with pytest.raises(DamagedCheckpointError, match="name the checkpoint itself"):
        find_bundle(tmp_path.as_uri(), {})


@pytest.mark.parametrize(
    "path",
    [
        "C:\\\\runs\\\\trees\\\\ckpt-2",
        "C:\\runs\\trees\\ckpt-2",
        "\\\\\\\\server\\\\share\\\\ckpt-2",
        "C:/runs/ckpt-2",
        "gs://runs/ckpt-2",
        "./ckpt-2",
    ],
    ids=["of Windows", "without escapes", "a share", "mixed", "a bucket", "relative"],
)
def test_the_newest_checkpoint_is_beside_the_state_file_wherever_it_was(
    model_dir: Path, tmp_path: Path, path: str
) -> None:
    for file in model_dir.glob("ckpt-2.*"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{path}"\n')
    bundle = find_bundle(tmp_path.as_uri(), {})
    assert bundle is not None
    assert bundle.uri == f"{tmp_path.as_uri()}/ckpt-2"


def test_for_a_state_file_with_a_missing_name_the_error_lists_what_exists(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "ckpt-30"\n')
    for number in (9, 10):
        (tmp_path / f"ckpt-{number}.index").touch()
    with pytest.raises(NotFoundError, match=r"names ckpt-30 .*or name another one, as .*/ckpt-10$"):
        find_bundle(tmp_path.as_uri(), {})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["ckpt-9.index", "ckpt-10.index", "ckpt-10.data-00000-of-00001"], ["ckpt-9", "ckpt-10"]),
        (["model.ckpt-5.index", "model.ckpt-5.meta"], ["model.ckpt-5"]),
        (["train/ckpt-1.index"], ["train/ckpt-1"]),
        (["weights.data-00000-of-00002"], ["weights"]),
        (["step-00000010/manifest.json"], ["step-00000010"]),
        (["train/events.out.tfevents.1", "pipeline.config", "search.index"], []),
    ],
    ids=["two", "of TensorFlow 1", "below", "without an index", "of this trainer", "none"],
)
def test_checkpoints_are_found_without_a_state_file(
    tmp_path: Path, files: list[str], expected: list[str]
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_strays(tmp_path.as_uri(), {}) == [f"{tmp_path.as_uri()}/{e}" for e in expected]


def test_a_source_without_a_state_file_is_refused_with_what_to_name(tmp_path: Path) -> None:
    (tmp_path / "ckpt-7.index").touch()
    with pytest.raises(NotFoundError, match=r"ckpt-7.*bring that file back, or name one of them"):
        find_run(tmp_path.as_uri(), {}, MODEL)
