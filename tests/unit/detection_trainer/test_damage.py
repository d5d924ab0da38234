"""Damaged files, wherever the damage is: a message and an exit code, never a wrong load."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from detection_trainer.checkpoints.format import (
    Arrays,
    find_checkpoint,
    list_checkpoints,
    read_metrics,
    write_metrics,
)
from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.checkpoints.ownership import Owner, raise_fence, read_owner, take_ownership
from detection_trainer.contract.dataset import Place
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data.dataset import open_dataset, read_dataset
from detection_trainer.data.records import write_record
from detection_trainer.data.wire import encode_example
from detection_trainer.errors import TrainerError
from detection_trainer.storage import open_folder
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset
from tests.support.trainer.fuzzing import Damage, damages
from tests.support.trainer.runs import NOW, commit, parsed

FEW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    folder = open_folder(path.as_uri())
    digest = "sha256:" + "1" * 64
    take_ownership(folder, Owner.of(parsed().identity, digest))
    raise_fence(folder, None, NOW)
    commit(folder, 10)
    write_metrics(folder.child("step-00000010"), 10, {"mAP": 0.25})
    return path


def require_sentence(error: TrainerError, part: str = " ") -> None:
    assert part in str(error)
    assert error.exit_code is not ExitCode.UNEXPECTED


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "manifest.json"])
@given(damage=damages())
@FEW
def test_a_damaged_checkpoint_loads_as_it_was_or_not_at_all(
    run: Path, file: str, damage: Damage
) -> None:
    place = run / "step-00000010" / file
    whole = place.read_bytes()
    expected = _load(run)
    try:
        place.write_bytes(damage(whole))
        try:
            found = _load(run)
        except TrainerError as error:
            require_sentence(error)
        else:
            assert found[0] == expected[0]
            assert _same(found[1], expected[1])
    finally:
        place.write_bytes(whole)


def _load(run: Path) -> tuple[Manifest, Arrays]:
    checkpoints, damaged = list_checkpoints(open_folder(run.as_uri()))
    assert len(checkpoints) + len(damaged) == 1
    checkpoint = find_checkpoint(open_folder((run / "step-00000010").as_uri()))
    weights, slots = checkpoint.load()
    return checkpoint.manifest, weights | slots


def _same(left: Arrays, right: Arrays) -> bool:
    return left.keys() == right.keys() and all(
        np.array_equal(left[path], right[path]) for path in left
    )


@given(damage=damages())
@FEW
def test_a_damaged_owner_record_blocks_other_runs(run: Path, damage: Damage) -> None:
    place = run / "owner.json"
    whole = place.read_bytes()
    try:
        place.write_bytes(damage(whole))
        try:
            assert read_owner(open_folder(run.as_uri())) is not None
        except TrainerError as error:
            require_sentence(error)
    finally:
        place.write_bytes(whole)


@given(damage=damages())
@FEW
def test_a_damaged_marker_does_not_end_in_a_crash(run: Path, damage: Damage) -> None:
    place = run / "attempts/000001.json"
    whole = place.read_bytes()
    try:
        place.write_bytes(damage(whole))
        fence = raise_fence(open_folder(run.as_uri()), 2, NOW)
        assert fence.number == 2
    except TrainerError as error:
        require_sentence(error)
    finally:
        place.write_bytes(whole)
        (run / "attempts/000002.json").unlink(missing_ok=True)


@given(damage=damages())
@FEW
def test_damaged_metrics_are_evaluated_again(run: Path, damage: Damage) -> None:
    place = run / "step-00000010/metrics.json"
    whole = place.read_bytes()
    try:
        place.write_bytes(damage(whole))
        found = read_metrics(open_folder((run / "step-00000010").as_uri()))
        assert found is None or all(np.isfinite(value) for value in found.values())
    finally:
        place.write_bytes(whole)


@given(damage=damages())
@settings(FEW, max_examples=150)
def test_damaged_records_are_found_by_their_checksums(tmp_path: Path, damage: Damage) -> None:
    whole = write_dataset(tmp_path / "a.tfrecord", [Drawn(seed=1), Drawn(seed=2)]).read_bytes()
    spoilt = damage(whole)
    (tmp_path / "a.tfrecord").write_bytes(spoilt)
    place = Place(uri=(tmp_path / "a.tfrecord").as_uri())
    try:
        dataset = open_dataset(place, CLASSES, tmp_path)
    except TrainerError as error:
        require_sentence(error, "a.tfrecord")
    else:
        # Cut just between two records: what is left is whole.
        assert whole.startswith(spoilt)
        assert len(dataset) in {1, 2}


@given(damage=damages())
@settings(FEW, max_examples=150)
def test_features_that_a_writer_spoilt_are_named(tmp_path: Path, damage: Damage) -> None:
    """The checksum is right, the content is not: the content is read as it is."""
    encoded = encode_example(Drawn(seed=1).features())
    with (tmp_path / "b.tfrecord").open("wb") as file:
        write_record(file, damage(encoded))
    place = Place(uri=(tmp_path / "b.tfrecord").as_uri())
    try:
        dataset = read_dataset(place, CLASSES, tmp_path)
    except TrainerError as error:
        require_sentence(error, "record 0")
    else:
        for image in dataset.images:
            boxes = image.annotations.boxes
            assert np.isfinite(boxes).all()
            assert ((boxes >= 0) & (boxes <= 1)).all()
            assert dataset.read_image(image)


def test_a_manifest_of_another_step_is_no_checkpoint(run: Path, tmp_path: Path) -> None:
    document = json.loads((run / "step-00000010/manifest.json").read_text())
    other = tmp_path / "step-00000020"
    other.mkdir()
    (other / "manifest.json").write_text(json.dumps(document))
    checkpoints, damaged = list_checkpoints(open_folder(tmp_path.as_uri()))
    assert (checkpoints, [candidate.step for candidate in damaged]) == ([], [20])
