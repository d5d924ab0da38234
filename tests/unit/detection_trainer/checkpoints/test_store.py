from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.checkpoints.candidate import Candidate
from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.checkpoints.ownership import Fence, raise_fence
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.saving import Checkpoints
from detection_trainer.errors import (
    NonFiniteLossError,
    StorageUnavailableError,
    SupersededError,
)
from detection_trainer.storage import Folder, open_folder
from tests.support.trainer.runs import NOW, commit, description, flip_byte, snapshot


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def folder(place: Path) -> Folder:
    return open_folder(place.as_uri())


def open_store(folder: Folder, **policy: Any) -> CheckpointStore:
    fields = {"storage": {"uri": "file:///unused"}, **policy}
    return CheckpointStore(folder, Checkpoints.model_validate(fields))


def save(store: CheckpointStore, fence: Fence, state: Snapshot | int) -> None:
    state = snapshot(state) if isinstance(state, int) else state
    store.commit(state, description().manifest, fence)
    store.apply_retention()


def steps(store: CheckpointStore) -> list[int]:
    return [c.step for c in store.checkpoints]


def test_retention_follows_each_commit_and_the_best_is_spared(folder: Folder) -> None:
    store, fence = open_store(folder, keepLast=2, keepBest=1), raise_fence(folder, None, NOW)
    save(store, fence, 1)
    store.add_metrics(1, {"mAP": 0.4})
    for step in (2, 3, 4):
        save(store, fence, step)
    assert steps(store) == [4, 3, 1]
    assert store.best is not None
    assert store.best.record.metrics == {"mAP": 0.4}
    assert steps(open_store(folder)) == [4, 3, 1]


def test_the_newest_is_verified_and_the_one_before_is_found(folder: Folder, place: Path) -> None:
    for step in (1, 2, 3):
        commit(folder, step)
    flip_byte(place / "step-00000003" / "model.safetensors")
    store = open_store(folder)
    candidates = store.candidates()
    assert [c.step for c in candidates] == [3, 2]
    assert "the bytes differ" in (candidates[0].problem or "")
    assert candidates[1] == Candidate(2)
    assert steps(store) == [2, 1]


def test_a_damaged_manifest_counts_as_damage_and_only_if_newer(folder: Folder, place: Path) -> None:
    for step in (1, 2, 3):
        commit(folder, step)
    (place / "step-00000001" / "manifest.json").write_text("{")
    assert open_store(folder).candidates() == [Candidate(3)]
    (place / "step-00000003" / "manifest.json").write_text("{")
    assert [c.step for c in open_store(folder).candidates()] == [3, 2]


def test_a_damaged_one_is_written_again_when_its_step_comes(folder: Folder, place: Path) -> None:
    for step in (1, 2):
        commit(folder, step)
    flip_byte(place / "step-00000002" / "model.safetensors")
    store, fence = open_store(folder), raise_fence(folder, None, NOW)
    store.candidates()
    save(store, fence, 2)
    assert open_store(folder).candidates() == [Candidate(2)]


def test_a_damaged_checkpoint_is_deleted_once_a_newer_valid_one_exists(
    folder: Folder, place: Path
) -> None:
    for step in (1, 2):
        commit(folder, step)
    flip_byte(place / "step-00000002" / "model.safetensors")
    store, fence = open_store(folder), raise_fence(folder, None, NOW)
    store.candidates()
    save(store, fence, 3)
    assert steps(open_store(folder)) == [3, 1]


def test_a_superseded_trainer_commits_nothing(folder: Folder) -> None:
    store, fence = open_store(folder), raise_fence(folder, None, NOW)
    raise_fence(folder, None, NOW)
    with pytest.raises(SupersededError):
        save(store, fence, 1)
    assert steps(open_store(folder)) == []


def test_a_trainer_superseded_while_it_writes_does_not_commit(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, fence = open_store(folder), raise_fence(folder, None, NOW)
    write = Folder.write

    def write_while_another_starts(self: Folder, path: str, data: bytes, **options: bool) -> None:
        write(self, path, data, **options)
        if path == "optimizer.safetensors":
            raise_fence(folder, None, NOW)

    monkeypatch.setattr(Folder, "write", write_while_another_starts)
    with pytest.raises(SupersededError):
        save(store, fence, 1)
    assert steps(open_store(folder)) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_committed(folder: Folder, value: float) -> None:
    store, fence = open_store(folder), raise_fence(folder, None, NOW)
    state = snapshot(7)
    state.weights["backbone/conv/kernel"][1, 1] = np.float32(value)
    with pytest.raises(NonFiniteLossError, match=r"step 7 .*backbone/conv/kernel"):
        save(store, fence, state)
    assert steps(open_store(folder)) == []


def test_what_killed_saves_left_is_swept(folder: Folder, place: Path) -> None:
    commit(folder, 1)
    commit(folder, 2)
    (place / "step-00000002" / "manifest.json").unlink()
    open_store(folder).sweep()
    assert sorted(p.name for p in place.iterdir()) == ["step-00000001"]


def test_a_deletion_that_the_storage_refuses_now_is_done_later(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, fence = open_store(folder, keepLast=1, keepBest=0), raise_fence(folder, None, NOW)
    save(store, fence, 1)

    def unavailable(_self: Folder, _path: str) -> None:
        raise StorageUnavailableError("no answer")

    with monkeypatch.context() as outage:
        outage.setattr(Folder, "delete", unavailable)
        save(store, fence, 2)
    assert steps(store) == [2, 1]
    save(store, fence, 3)
    assert steps(store) == [3]
