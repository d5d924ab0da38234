from pathlib import Path

import pytest

from detection_trainer.checkpoints.ownership import (
    Fence,
    claim_folder,
    marker_numbers,
    raise_fence,
    read_owner,
)
from detection_trainer.contract.training import Identity
from detection_trainer.errors import StorageInUseError, SupersededError
from detection_trainer.storage import Folder, open_folder
from tests.support.runs import NOW

TREES, CARS = Identity(namespace="vision", name="trees"), Identity(namespace="vision", name="cars")
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder((tmp_path / "run").as_uri())


def claim(
    folder: Folder, identity: Identity = TREES, digest: str = ONE, *, checkpoint: bool = True
) -> None:
    claim_folder(folder, identity, digest, has_checkpoint=lambda: checkpoint)


def test_a_free_folder_is_claimed(folder: Folder) -> None:
    assert read_owner(folder) is None
    claim(folder)
    owner = read_owner(folder)
    assert owner is not None
    assert owner.identity == TREES


def test_the_same_run_adopts_its_folder(folder: Folder) -> None:
    claim(folder)
    claim(folder)


def test_another_run_is_refused_and_the_owner_is_named(folder: Folder) -> None:
    claim(folder)
    with pytest.raises(StorageInUseError, match="belongs to training vision/trees"):
        claim(folder, CARS, checkpoint=False)


def test_another_configuration_is_refused_once_a_checkpoint_is_there(folder: Folder) -> None:
    claim(folder)
    with pytest.raises(StorageInUseError, match="with another model"):
        claim(folder, digest=TWO)


def test_a_configuration_may_be_mended_before_the_first_checkpoint(folder: Folder) -> None:
    claim(folder)
    claim(folder, digest=TWO, checkpoint=False)
    owner = read_owner(folder)
    assert owner is not None
    assert owner.config_digest == TWO


def test_an_owner_record_that_cannot_be_read_is_no_licence(folder: Folder) -> None:
    folder.write("owner.json", b"{}")
    with pytest.raises(StorageInUseError, match="no owner record"):
        claim(folder, checkpoint=False)


def test_each_start_raises_the_fence(folder: Folder) -> None:
    first = raise_fence(folder, None, NOW)
    first.check()
    second = raise_fence(folder, None, NOW)
    assert (first.number, second.number) == (1, 2)
    assert second.attempt == 2
    second.check()
    with pytest.raises(SupersededError, match="trainer start 2 has taken over"):
        first.check()


def test_an_attempt_that_starts_late_does_not_take_over(folder: Folder) -> None:
    raise_fence(folder, 5, NOW)
    with pytest.raises(SupersededError, match="attempt 5 has taken over"):
        raise_fence(folder, 4, NOW)
    assert marker_numbers(folder) == [1]


def test_a_resource_made_anew_counts_its_attempts_from_one(folder: Folder) -> None:
    raise_fence(folder, 5, NOW, uid="the old one")
    again = raise_fence(folder, 1, NOW, uid="the new one")
    assert (again.number, again.attempt) == (2, 1)
    with pytest.raises(SupersededError):
        raise_fence(folder, 0, NOW, uid="the new one")


def test_a_pod_restarted_within_its_attempt_takes_over_from_itself(folder: Folder) -> None:
    lost = raise_fence(folder, 3, NOW)
    again = raise_fence(folder, 3, NOW)
    assert again.attempt == 3
    with pytest.raises(SupersededError):
        lost.check()


def test_of_two_that_start_at_once_the_later_number_wins(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Folder.list
    rival: list[Fence] = []

    def list_before_the_rival(self: Folder, prefix: str = "", *, recursive: bool = True) -> object:
        found = listed(self, prefix, recursive=recursive)
        if not rival:
            rival.append(Fence(folder, 1, 1))
            folder.write("attempts/000001.json", b'{"attempt": 1, "startedAt": "2026-01-01"}')
        return found

    monkeypatch.setattr(Folder, "list", list_before_the_rival)
    assert raise_fence(folder, None, NOW).number == 2
