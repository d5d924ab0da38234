"""Each refusal is the run's own; what is written is taken away again."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer import preflight
from detection_trainer.checkpoints.format import Snapshot, write_checkpoint
from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.checkpoints.ownership import Owner, take_ownership
from detection_trainer.contract.backbone_shapes import backbone_shapes
from detection_trainer.contract.model import Backbone
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.spec import config_digest
from detection_trainer.contract.training import Training
from detection_trainer.data.source import require_pinned
from detection_trainer.errors import (
    AccessDeniedError,
    DataInvalidError,
    DatasetChangedError,
    InvalidConfigError,
    NotFoundError,
    RestoreRefusedError,
    StorageInUseError,
    StorageUnsupportedError,
    TrainerError,
)
from detection_trainer.options import Options
from detection_trainer.preflight import PreflightResult, run_preflight
from detection_trainer.storage import Folder, open_folder
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset
from sandbox.samples.trainings import TINY_MODEL
from tests.support.trainer.image_files import draw_scene, write_turned
from tests.support.trainer.runs import description, parsed
from tests.support.trainer.torch_files import as_torch, old_file, state_dict


@pytest.fixture
def place(tmp_path: Path) -> Path:
    write_dataset(tmp_path / "data" / "train-0.tfrecord", [Drawn(seed=1), Drawn(seed=2)])
    write_dataset(tmp_path / "data" / "validation-0.tfrecord", [Drawn(seed=3)])
    return tmp_path


def training(place: Path, **spec: Any) -> Training:
    """Return a training on the dataset of `place`, its dataset's fields replaced by `data`."""
    data = place / "data"
    dataset = {
        "train": {"uri": f"{data.as_uri()}/train-*"},
        "validation": {"uri": f"{data.as_uri()}/validation-*"},
        "classes": list(CLASSES),
    }
    dataset |= spec.pop("data", {})
    storage = {"storage": {"uri": (place / "run").as_uri()}}
    given = {k: v for k, v in dataset.items() if v is not None}
    return parsed(dataset=given, checkpoints=storage, **spec)


def check(place: Path, **spec: Any) -> PreflightResult:
    return run_preflight(training(place, **spec), Options(), place / "cache")


def commit_model(folder: Folder, of: Training, step: int, **fields: Any) -> Manifest:
    """Commit a checkpoint that has all variables of the training's model, all zero."""
    classes = fields.get("classes", list(CLASSES))
    shapes = variable_shapes(of.spec.model, len(classes))
    weights: dict[str, np.ndarray[Any, Any]] = {
        path: np.zeros(shape, np.float32) for path, shape in shapes.items()
    }
    groups = {path: path.split("/")[0] for path in weights}
    state = Snapshot(step=step, weights=weights, optimizer={}, groups=groups)
    shared = replace(description(of.spec, classes=classes), identity=of.identity)
    shared = replace(shared, **fields)
    checkpoint = write_checkpoint(
        folder,
        state,
        lambda files, variables: shared.manifest(state, files, variables),
        lambda: None,
    )
    return checkpoint.manifest


IDLE: dict[str, Any] = {"steps": 6, "optimizer": {"schedule": {"warmupSteps": 100}}}
"""A warm-up that never ends: refused at a first start, but older runs may have it."""


def test_a_warm_up_longer_than_the_run_is_refused(place: Path) -> None:
    with pytest.raises(InvalidConfigError, match=r"warmupSteps below steps, 6; received 100"):
        check(place, **IDLE)


def test_a_run_that_has_checkpoints_may_have_a_longer_warm_up(place: Path) -> None:
    started = training(place, **IDLE)
    commit_model(open_folder((place / "run").as_uri()), started, 3)
    assert run_preflight(started, Options(), place / "cache").source.start == "Resume"


def test_what_the_operator_checks_is_not_checked_again(place: Path) -> None:
    options = Options(config_digest="sha256:" + "0" * 64)
    passed = run_preflight(training(place, **IDLE), options, place / "cache")
    assert passed.source.start == "Scratch"


def test_a_training_from_scratch_passes(place: Path) -> None:
    result = check(place)
    assert result.source.start == "Scratch"
    assert result.classes == list(CLASSES)
    assert result.train.summary.images == 2
    assert result.validation is not None
    assert result.validation.summary.images == 1
    assert result.folder.owner is None
    assert result.message == (
        "2 images with 2 boxes of 2 classes; starts from scratch; the training set has no box of "
        "shrub"
    )


def test_nothing_is_left_in_the_folder(place: Path) -> None:
    check(place)
    assert open_folder((place / "run").as_uri()).list() == []


def test_classes_are_read_from_the_label_map(place: Path) -> None:
    path = place / "label_map.pbtxt"
    path.write_text('item { id: 1 name: "tree" } item { id: 2 name: "shrub" }')
    data = {"classes": None, "labelMap": {"uri": path.as_uri()}}
    assert check(place, data=data).classes == ["tree", "shrub"]


def test_the_run_s_own_checkpoint_is_resumed_whatever_restore_is(place: Path) -> None:
    restore = {"mode": "detection", "from": {"uri": "s3://nowhere/at-all"}}
    mine = training(place, restore=restore)
    manifest = commit_model(open_folder((place / "run").as_uri()), mine, 40)
    result = run_preflight(mine, Options(), place / "cache")
    assert (result.source.start, result.source.step) == ("Resume", 40)
    assert result.source.digest == manifest.digest
    assert result.folder.checkpoints == [40]


def test_a_restore_is_compared_and_counted(place: Path) -> None:
    source = open_folder((place / "other").as_uri())
    commit_model(source, training(place), 40, classes=["car"])
    restore = {"mode": "detection", "from": {"uri": source.uri}}
    result = check(place, restore=restore)
    assert (result.source.start, result.source.step) == ("Restore", 0)
    assert result.source.uri == f"{source.uri}/step-00000040"
    counts = result.source.variables
    assert counts is not None
    whole = variable_shapes(training(place).spec.model, 2)
    heads = [path for path in whole if path.startswith(("box_head", "class_head"))]
    assert (counts.restored, counts.fresh) == (len(whole) - len(heads), len(heads))
    assert result.source.restored == [path for path in whole if path not in heads]
    assert result.source.fresh == {
        path: f"mode detection does not restore {path.partition('/')[0]}" for path in heads
    }


def test_full_with_other_classes_is_refused_with_the_variables_that_differ(place: Path) -> None:
    source = open_folder((place / "other").as_uri())
    commit_model(source, training(place), 40, classes=["car"])
    with pytest.raises(RestoreRefusedError, match=r"set restore\.mode to") as refused:
        check(place, restore={"mode": "full", "from": {"uri": source.uri}})
    assert "detection" in str(refused.value)
    differences = refused.value.differences
    assert any(d.startswith("classes: the source has [car]") for d in differences)
    assert any(d.startswith("class_head/predictor/kernel: ") for d in differences)


def from_imagenet(backbone: str) -> dict[str, Any]:
    """Return a spec that takes the ImageNet weights of `backbone` for a MobileNetV2."""
    source = {"uri": f"keras://{backbone}/imagenet"}
    return {
        "model": {**TINY_MODEL, "backbone": "mobilenet_v2"},
        "restore": {"mode": "classification", "from": source},
    }


def test_imagenet_weights_are_compared_without_a_download(place: Path) -> None:
    result = check(place, **from_imagenet("mobilenet_v2"))
    assert result.source.uri == "keras://mobilenet_v2/imagenet"
    with pytest.raises(RestoreRefusedError, match="backbone: the source has"):
        check(place, **from_imagenet("resnet50"))


def test_a_file_of_torch_is_compared_by_its_header(place: Path) -> None:
    shapes = backbone_shapes(Backbone.EFFICIENTNET_LITE0, 5)
    arrays = as_torch({path: np.zeros(shape, np.float32) for path, shape in shapes.items()})
    file = place / "lite0.pth"
    file.write_bytes(old_file(*state_dict(arrays)))
    changes = {
        "model": {**TINY_MODEL, "backbone": "efficientnet_lite0"},
        "restore": {"mode": "classification", "from": {"uri": file.as_uri()}},
    }
    variables = check(place, **changes).source.variables
    assert variables is not None
    assert variables.restored == len(shapes)
    with pytest.raises(RestoreRefusedError, match=r"the source has \[efficientnet_lite0\]"):
        check(place, **{**changes, "model": TINY_MODEL})


def test_a_continuation_begins_at_the_source_s_step(place: Path) -> None:
    source = open_folder((place / "other").as_uri())
    commit_model(source, training(place), 40)
    result = check(place, continueFrom={"uri": source.uri})
    assert (result.source.start, result.source.step) == ("Continue", 40)
    with pytest.raises(InvalidConfigError, match="set steps above 40"):
        check(place, continueFrom={"uri": source.uri}, steps=40)


def claim(place: Path, name: str, **spec: Any) -> None:
    other = training(place, **spec)
    identity = other.identity.model_copy(update={"name": name})
    folder = open_folder((place / "run").as_uri())
    take_ownership(folder, Owner.of(identity, config_digest(other.spec)))


def owner_record_lost(place: Path) -> None:
    folder = open_folder((place / "run").as_uri())
    identity = training(place).identity.model_copy(update={"name": "oaks"})
    commit_model(folder, training(place), 40, identity=identity)


def own_checkpoint_of_other_classes(place: Path) -> None:
    folder = open_folder((place / "run").as_uri())
    commit_model(folder, training(place), 40, classes=["shrub", "tree"])


def own_checkpoint_of_another_batch_size(place: Path) -> None:
    claim(place, "trees", batchSize=8)
    commit_model(open_folder((place / "run").as_uri()), training(place), 40)


def a_label_beyond_the_map(place: Path) -> None:
    path = place / "data" / "train-1.tfrecord"
    write_dataset(path, [Drawn(), Drawn(labels=(3,))])


def a_cut_off_file(place: Path) -> None:
    path = place / "data" / "train-0.tfrecord"
    path.write_bytes(path.read_bytes()[:-10])


def a_file_in_place_of_the_folder(place: Path) -> None:
    (place / "run").write_text("")


@pytest.mark.parametrize(
    ("spoil", "spec", "error", "message"),
    [
        (a_cut_off_file, {}, DataInvalidError, "record 1 at byte"),
        (a_label_beyond_the_map, {}, DataInvalidError, r"train-1.tfrecord: record 1 at byte"),
        (None, {"data": {"train": {"uri": "file:///no/such/*"}}}, NotFoundError, "/no/such"),
        (
            None,
            {"data": {"classes": None, "labelMap": {"uri": "file:///no/map.pbtxt"}}},
            NotFoundError,
            r"map\.pbtxt",
        ),
        (lambda place: claim(place, "other"), {}, StorageInUseError, "default/other"),
        (owner_record_lost, {}, StorageInUseError, "step 40 .* saved by training default/oaks"),
        (
            own_checkpoint_of_another_batch_size,
            {},
            StorageInUseError,
            "batch size",
        ),
        (
            own_checkpoint_of_other_classes,
            {},
            DatasetChangedError,
            "classes have changed since step 40 was saved: id 1 was 'shrub', now 'tree'",
        ),
        (a_file_in_place_of_the_folder, {}, NotFoundError, "a file exists where a folder"),
        (
            None,
            {"restore": {"mode": "full", "from": {"trainingRef": {"name": "oaks"}}}},
            InvalidConfigError,
            "only in a cluster",
        ),
        (
            None,
            {"restore": {"mode": "full", "from": {"uri": "file:///no/run"}}},
            NotFoundError,
            "expected a checkpoint",
        ),
        (
            None,
            {"checkpoints": {"storage": {"volumeClaim": {"claimName": "c"}}}},
            InvalidConfigError,
            "--checkpoint-uri",
        ),
    ],
    ids=[
        "a record that is cut off",
        "a label outside the label map",
        "no dataset",
        "no label map",
        "another run's folder",
        "another run's folder whose owner record is lost",
        "another configuration's checkpoints",
        "a label map that changed",
        "a folder that cannot be made",
        "an unresolved reference",
        "no source",
        "a claim that is nowhere mounted",
    ],
)
def test_it_is_refused_for(
    place: Path,
    spoil: Callable[[Path], None] | None,
    spec: dict[str, Any],
    error: type[TrainerError],
    message: str,
) -> None:
    if spoil is not None:
        spoil(place)
    checkpoints = spec.pop("checkpoints", None)
    document = training(place, **spec)
    if checkpoints is not None:
        document = parsed(checkpoints=checkpoints)
    with pytest.raises(error, match=message):
        run_preflight(document, Options(), place / "cache")


class _Deaf:
    """A storage that overwrites existing files on create."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, key: str, data: Any, *, create: bool) -> None:
        del create
        self._store.write(key, data, create=False)


def test_a_storage_that_ignores_conditional_create_is_detected(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deaf(uri: str, credentials: Any = None) -> Folder:
        folder = open_folder(uri, credentials)
        return replace(folder, store=_Deaf(folder.store))

    monkeypatch.setattr(preflight, "open_folder", deaf)
    with pytest.raises(StorageUnsupportedError, match="was created twice: the storage ignores"):
        check(place)
    assert not list((place / "run").glob("**/*")), "the probe is deleted"


class _ReadOnly:
    """A storage that refuses to be written."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, key: str, _data: Any, *, create: bool) -> None:
        raise AccessDeniedError(f"writing {key} failed: the volume is read-only ({create=})")


def test_a_folder_that_cannot_be_written_is_detected(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(uri: str, credentials: Any = None) -> Folder:
        folder = open_folder(uri, credentials)
        return replace(folder, store=_ReadOnly(folder.store))

    monkeypatch.setattr(preflight, "open_folder", read_only)
    with pytest.raises(AccessDeniedError, match="read-only"):
        check(place)


def test_bad_records_within_the_allowance_are_named(place: Path) -> None:
    a_label_beyond_the_map(place)
    result = check(place, data={"maxBadRecords": 1})
    assert result.notes[0].startswith("1 records are skipped, the first: ")
    assert "train-1.tfrecord: record 1 at byte" in result.notes[0]


def test_a_dataset_that_changed_since_is_noted(place: Path) -> None:
    mine = training(place)
    digest = check(place).train.summary.digest
    folder = open_folder((place / "run").as_uri())
    commit_model(folder, mine, 40, dataset_digest=digest)
    assert not any("has changed since step" in note for note in check(place).notes)
    write_dataset(place / "data" / "train-1.tfrecord", [Drawn(seed=9)])
    assert any(
        "the training set has changed since step 40 was trained" in n for n in check(place).notes
    )


def a_file_more(data: Path) -> None:
    write_dataset(data / "train-1.tfrecord", [Drawn(seed=9)])


def a_file_less(data: Path) -> None:
    (data / "train-1.tfrecord").unlink()


def other_records(data: Path) -> None:
    write_dataset(data / "train-0.tfrecord", [Drawn(seed=7), Drawn(seed=8)])


def nothing_that_is_trained_on(data: Path) -> None:
    write_dataset(data / "validation-0.tfrecord", [Drawn(seed=9)])


@pytest.mark.parametrize(
    ("before", "change", "refused"),
    [
        (None, a_file_more, True),
        (a_file_more, a_file_less, True),
        (None, other_records, True),
        (None, nothing_that_is_trained_on, False),
    ],
    ids=["a file came", "a file went", "a file was replaced", "only validation changed"],
)
def test_the_checked_files_are_distinguished_from_others(
    place: Path,
    before: Callable[[Path], None] | None,
    change: Callable[[Path], None],
    *,
    refused: bool,
) -> None:
    if before is not None:
        before(place / "data")
    pinned = check(place).train_files
    train = training(place).spec.dataset.train
    require_pinned(train, pinned.digest, None)
    change(place / "data")
    if not refused:
        require_pinned(train, pinned.digest, None)
        return
    with pytest.raises(DatasetChangedError, match="has changed since the preflight checked it"):
        require_pinned(train, pinned.digest, None)
    assert check(place).train_files.digest != pinned.digest, "checked again, pinned again"


def test_what_is_pinned_is_counted(place: Path) -> None:
    a_file_more(place / "data")
    files = list((place / "data").glob("train-*"))
    pinned = check(place).train_files
    assert (pinned.files, pinned.size_bytes) == (2, sum(file.stat().st_size for file in files))


def test_of_a_large_remote_dataset_one_file_is_read(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Local files replace remote ones, without their location."""
    write_dataset(place / "data" / "train-1.tfrecord", [Drawn(seed=4)])
    monkeypatch.setattr(preflight, "VERIFIED_BYTES", 100)
    monkeypatch.setattr(Folder, "local_path", lambda _self, _path: None)
    result = check(place)
    assert [Path(uri).name for uri in result.train.sampled_files] == ["train-1.tfrecord"]
    assert result.train.summary.images == 1
    assert "only file://" in result.message
    assert result.train_files.files == 2, "all are pinned"


def test_no_tensorflow_is_imported(place: Path) -> None:
    file = place / "training.json"
    document = training(place)
    spec = document.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    file.write_text(
        json.dumps(
            {
                "apiVersion": "detectiontraining.dev/v1alpha1",
                "kind": "DetectionTraining",
                "metadata": {"name": "trees"},
                "spec": spec,
            }
        )
    )
    code = (
        "import sys; from detection_trainer.__main__ import main; "
        f"assert main(['preflight', {str(file)!r}]) == 0; "
        "sys.exit(sorted({'tensorflow', 'keras'} & sys.modules.keys()) or 0)"
    )
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"]["start"] == "Scratch"


def test_images_that_viewers_turn_are_noted(place: Path) -> None:
    image = write_turned(place / "a.jpg", draw_scene(24, 32), 3).read_bytes()
    write_dataset(place / "data/train-0.tfrecord", [Drawn().record(image__encoded=[image])])
    assert "1 images have an EXIF orientation, which training ignores" in check(place).message
