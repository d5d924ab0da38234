import json
from pathlib import Path

import numpy as np
import pytest

from detection_trainer.checkpoints.format import (
    CheckpointWeights,
    committed_steps,
    delete_checkpoint,
    find_checkpoint,
    list_checkpoints,
    open_checkpoint,
    read_metrics,
    reported_metrics,
    write_metrics,
)
from detection_trainer.checkpoints.manifest import SEAL
from detection_trainer.contract.base import canonical_digest
from detection_trainer.errors import (
    CheckpointMissingError,
    DamagedCheckpointError,
    NotFoundError,
)
from detection_trainer.storage import Folder, open_folder
from tests.support.trainer.runs import NOW, DyingStore, KilledError, commit, flip_byte, snapshot


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "trees"


@pytest.fixture
def folder(place: Path) -> Folder:
    return open_folder(place.as_uri())


def test_what_is_written_is_read_back_bit_by_bit(folder: Folder) -> None:
    commit(folder, 18000)
    checkpoint = open_checkpoint(folder.child("step-00018000"))
    weights, slots = checkpoint.load()
    expected = snapshot(18000)
    for found, wanted in ((weights, expected.weights), (slots, expected.optimizer)):
        assert found.keys() == wanted.keys()
        for path, array in wanted.items():
            assert found[path].dtype == array.dtype
            np.testing.assert_array_equal(found[path], array)
    assert checkpoint.record.uri == folder.uri + "/step-00018000"
    assert checkpoint.record.saved_at == NOW


def test_the_manifest_describes_the_stored_files(folder: Folder) -> None:
    manifest = commit(folder, 3).manifest
    assert manifest.shapes() == {
        "backbone/conv/kernel": (3, 2),
        "class_head/predictor/bias": (2,),
        "backbone/dropout/seed": (2,),
    }
    assert manifest.variables["class_head/predictor/bias"].group == "class_head"
    assert manifest.variables["optimizer/iteration"].group == "optimizer"
    assert manifest.variables["optimizer/iteration"].dtype == "int64"
    assert manifest.data.next_batch == 3


def test_equal_weights_have_equal_digests_whatever_the_step(folder: Folder) -> None:
    digests = {commit(folder.child(str(s)), 5, value=1.5).manifest.digest for s in (1, 2)}
    assert len(digests) == 1
    assert commit(folder, 6, value=1.25).manifest.digest not in digests


def test_a_checkpoint_without_a_manifest_does_not_exist(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    commit(folder, 2)
    (place / "step-00000002" / "manifest.json").unlink()
    assert committed_steps(folder) == [1]
    assert find_checkpoint(folder).step == 1


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors"])
def test_a_flipped_byte_is_found(folder: Folder, place: Path, file: str) -> None:
    checkpoint = commit(folder, 1)
    flip_byte(place / "step-00000001" / file)
    with pytest.raises(DamagedCheckpointError, match=f"{file}: the bytes differ"):
        checkpoint.verify()
    with pytest.raises(DamagedCheckpointError):
        checkpoint.load()


def test_a_missing_file_is_found(folder: Folder, place: Path) -> None:
    checkpoint = commit(folder, 1)
    (place / "step-00000001" / "optimizer.safetensors").unlink()
    with pytest.raises(DamagedCheckpointError, match="in the manifest, but not in the folder"):
        checkpoint.verify()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"formatVersion": 1}'])
def test_an_invalid_manifest_is_damage(folder: Folder, place: Path, content: str) -> None:
    commit(folder, 1)
    commit(folder, 2)
    (place / "step-00000002" / "manifest.json").write_text(content)
    checkpoints, damaged = list_checkpoints(folder)
    assert [c.step for c in checkpoints] == [1]
    assert [c.step for c in damaged] == [2]


def test_a_manifest_of_another_step_is_damage(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    (place / "step-00000001").rename(place / "step-00000009")
    _, damaged = list_checkpoints(folder)
    assert damaged[0].problem is not None
    assert "states step 1" in damaged[0].problem


def test_a_newer_format_is_never_passed_over(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    commit(folder, 2)
    path = place / "step-00000002" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "formatVersion": 2}))
    with pytest.raises(
        CheckpointMissingError, match=r"format version 2; .* reads versions up to 1"
    ):
        list_checkpoints(folder)


def test_fields_that_a_later_version_added_are_passed_over(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    path = place / "step-00000001" / "manifest.json"
    document = {**json.loads(path.read_text()), "weather": "fair"}
    del document[SEAL]
    path.write_text(json.dumps({**document, SEAL: canonical_digest(document)}))
    assert find_checkpoint(folder).step == 1


def test_a_manifest_that_was_edited_is_damage(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    path = place / "step-00000001" / "manifest.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "classes": ["other"]}))
    _, damaged = list_checkpoints(folder)
    assert "the manifest has changed since it was written" in str(damaged[0].problem)


def test_a_manifest_of_the_first_version_has_no_seal(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    path = place / "step-00000001" / "manifest.json"
    document = json.loads(path.read_text())
    del document[SEAL]
    path.write_text(json.dumps(document))
    assert find_checkpoint(folder).step == 1


@pytest.mark.parametrize("before", [None, 1.0], ids=["a new step", "a step that was damaged"])
def test_killed_at_any_change_a_save_leaves_a_whole_checkpoint_or_none(
    tmp_path: Path, before: float | None
) -> None:
    moment, finished = 0, False
    while not finished:
        real = open_folder((tmp_path / str(moment)).as_uri())
        if before is not None:
            commit(real, 5, value=before)
            write_metrics(real.child("step-00000005"), 5, {"mAP": 0.5})
        dying = Folder(DyingStore(real.store, die_before=moment), real.uri, real.key)
        try:
            commit(dying, 5, value=2.0)
            finished = True
        except KilledError:
            moment += 1
        for checkpoint in list_checkpoints(real)[0]:
            weights, _ = checkpoint.load()
            value = weights["backbone/conv/kernel"][0, 0]
            assert value in {before, 2.0}
            # Metrics belong to the weights that they were measured on.
            assert checkpoint.is_evaluated == (value == before)
    assert moment >= 3
    assert committed_steps(real) == [5]


def test_killed_at_any_change_a_deletion_leaves_no_half(tmp_path: Path) -> None:
    for moment in range(3):
        real = open_folder((tmp_path / str(moment)).as_uri())
        commit(real, 5)
        dying = Folder(DyingStore(real.store, die_before=moment), real.uri, real.key)
        with pytest.raises(KilledError):
            delete_checkpoint(dying, 5)
        for checkpoint in list_checkpoints(real)[0]:
            checkpoint.verify()


def test_metrics_are_stored_beside_the_manifest(folder: Folder, place: Path) -> None:
    commit(folder, 5)
    step = folder.child("step-00000005")
    assert read_metrics(step) is None
    write_metrics(step, 5, {"mAP": 0.25})
    assert open_checkpoint(step).score == 0.25
    (place / "step-00000005" / "metrics.json").write_text("nonsense")
    assert not open_checkpoint(step).is_evaluated


def test_reports_have_finite_metrics_overall_ones_first() -> None:
    metrics = {f"mAP/class {i:03}": 0.1 for i in range(100)} | {"mAP": 0.5, "AR1": float("nan")}
    reported = reported_metrics(metrics)
    assert next(iter(reported)) == "mAP"
    assert len(reported) == 64
    assert "AR1" not in reported


def test_a_source_is_found_by_its_directory_and_by_its_run(folder: Folder) -> None:
    commit(folder, 1)
    commit(folder, 2)
    assert find_checkpoint(folder.child("step-00000001")).step == 1
    assert find_checkpoint(folder).step == 2
    with pytest.raises(NotFoundError, match="found neither"):
        find_checkpoint(folder.child("elsewhere"))


def test_weights_know_shapes_without_reading_and_verify_when_read(
    folder: Folder, place: Path
) -> None:
    weights = CheckpointWeights(commit(folder, 4))
    assert weights.classes == ["tree"]
    assert weights.step == 4
    assert weights.shapes["backbone/conv/kernel"] == (3, 2)
    assert weights.read(["backbone/conv/kernel"])["backbone/conv/kernel"][0, 0] == 4.0
    flip_byte(place / "step-00000004" / "model.safetensors")
    with pytest.raises(DamagedCheckpointError):
        CheckpointWeights(find_checkpoint(folder)).read(["backbone/conv/kernel"])
