from pathlib import Path

import pytest

from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.checkpoints.ownership import (
    Fence,
    Owner,
    marker_numbers,
    raise_fence,
    read_owner,
    take_ownership,
)
from detection_trainer.contract.training import Identity
from detection_trainer.errors import StorageInUseError, StorageUnsupportedError, SupersededError
from detection_trainer.storage import Folder, open_folder
from tests.support.trainer.runs import NOW, commit

TREES, CARS = Identity(namespace="vision", name="trees"), Identity(namespace="vision", name="cars")
ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder((tmp_path / "run").as_uri())


def own(
    folder: Folder, identity: Identity = TREES, digest: str = ONE, *saved: Manifest, uid: str = ""
) -> None:
    take_ownership(folder, Owner.of(identity, digest), manifests=saved, uid=uid)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Return the manifest of a checkpoint of TREES with the configuration ONE."""
    folder = open_folder(tmp_path_factory.mktemp("saved").as_uri())
    manifest = commit(folder, 10, identity=TREES).manifest
    return manifest.model_copy(update={"config_digest": ONE})


def test_a_free_folder_is_claimed(folder: Folder) -> None:
    assert read_owner(folder) is None
    own(folder)
    owner = read_owner(folder)
    assert owner is not None
    assert owner.identity == TREES


def test_the_same_run_adopts_its_folder(folder: Folder) -> None:
    own(folder)
    owner = read_owner(folder)
    own(folder)
    assert read_owner(folder) == owner


@pytest.mark.parametrize("checkpoint", [True, False], ids=["with a checkpoint", "without"])
def test_another_run_is_refused_and_the_owner_is_named(
    folder: Folder, saved: Manifest, *, checkpoint: bool
) -> None:
    own(folder)
    with pytest.raises(StorageInUseError, match="belongs to training vision/trees"):
        own(folder, CARS, ONE, *([saved] if checkpoint else []))


def test_the_name_of_another_namespaces_training_is_in_no_message(
    folder: Folder, saved: Manifest
) -> None:
    elsewhere = Identity(namespace="team-b", name="oaks")
    own(folder)
    for place, manifests in ((folder, []), (folder.child("unowned"), [saved])):
        with pytest.raises(StorageInUseError, match="a training of another namespace") as refused:
            own(place, elsewhere, ONE, *manifests)
        assert "vision" not in str(refused.value)
        assert "trees" not in str(refused.value)


def test_another_configuration_is_refused_once_a_checkpoint_exists(
    folder: Folder, saved: Manifest
) -> None:
    own(folder)
    with pytest.raises(StorageInUseError, match="with another model"):
        own(folder, TREES, TWO, saved)


def test_a_configuration_may_be_corrected_before_the_first_checkpoint(folder: Folder) -> None:
    own(folder)
    own(folder, digest=TWO)
    owner = read_owner(folder)
    assert owner is not None
    assert owner.config_digest == TWO


def test_an_owner_record_that_cannot_be_read_is_no_licence(folder: Folder) -> None:
    folder.write("owner.json", b"{}")
    with pytest.raises(StorageInUseError, match="no owner record"):
        own(folder)


def test_a_lost_owner_record_is_restored_by_the_run_that_owns_the_checkpoints(
    folder: Folder, saved: Manifest
) -> None:
    own(folder, TREES, ONE, saved, uid="recreated")
    assert read_owner(folder) == Owner.of(TREES, ONE)


@pytest.mark.parametrize(
    ("mine", "digest", "message"),
    [
        (CARS, ONE, "step 10 in file://.* was saved by training vision/trees; this is vision/cars"),
        (TREES, TWO, "with another model"),
    ],
    ids=["another run", "another configuration"],
)
@pytest.mark.parametrize("record", ["lost", "replaced"])
def test_checkpoints_of_another_run_are_not_adopted(  # noqa: PLR0913 - what the table varies
    folder: Folder, saved: Manifest, *, mine: Identity, digest: str, message: str, record: str
) -> None:
    if record == "replaced":
        own(folder, mine, digest)
    with pytest.raises(StorageInUseError, match=message):
        own(folder, mine, digest, saved)
    assert (read_owner(folder) is None) == (record == "lost"), "nothing is written"


OLD_MARKER = b'{"attempt": 1, "uid": "uid-1", "startedAt": "2026-01-01T00:00:00Z"}'


@pytest.mark.parametrize(
    ("identity", "uid", "is_own"),
    [
        (TREES, "uid-1", True),
        (TREES, "uid-2", True),
        (CARS, "uid-1", False),
        (Identity(namespace="team-b", name="trees"), "uid-3", False),
    ],
    ids=["itself", "itself, recreated", "another training", "one of another namespace"],
)
def test_a_folder_without_record_and_checkpoint_is_of_the_run_that_started_last(
    folder: Folder, identity: Identity, uid: str, *, is_own: bool
) -> None:
    raise_fence(folder, 1, NOW, "uid-1", TREES)
    if is_own:
        own(folder, identity, uid=uid)
        return
    with pytest.raises(StorageInUseError, match=r"no owner\.json, and attempts/000001\.json"):
        own(folder, identity, uid=uid)
    assert read_owner(folder) is None


def test_a_start_of_version_0_1_0_is_known_by_its_uid_or_by_the_checkpoints(
    folder: Folder, saved: Manifest
) -> None:
    folder.write("attempts/000001.json", OLD_MARKER)
    with pytest.raises(StorageInUseError, match="may be another run's"):
        own(folder, uid="uid-2")
    own(folder, TREES, ONE, saved, uid="uid-2")
    folder.delete("owner.json")
    own(folder, uid="uid-1")


def test_a_storage_that_ignores_conditional_create_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Folder.write

    def write(self: Folder, path: str, data: bytes, *, create: bool = False) -> None:
        del create
        written(self, path, data)

    monkeypatch.setattr(Folder, "write", write)
    with pytest.raises(StorageUnsupportedError, match=r"owner\.json was created twice"):
        own(folder)
    with pytest.raises(StorageUnsupportedError, match=r"attempts/000001\.json was created twice"):
        raise_fence(folder, None, NOW)
    assert folder.list() == [], "what was written is deleted"


def test_one_of_two_simultaneous_claims_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Folder.write
    rival: list[str] = []

    def write_after_the_rival(
        self: Folder, path: str, data: bytes, *, create: bool = False
    ) -> None:
        if not rival:
            rival.append(path)
            own(folder, CARS)
        written(self, path, data, create=create)

    monkeypatch.setattr(Folder, "write", write_after_the_rival)
    with pytest.raises(StorageInUseError, match="belongs to training vision/cars"):
        own(folder)


def test_each_start_raises_the_fence(folder: Folder) -> None:
    first = raise_fence(folder, None, NOW)
    first.check()
    second = raise_fence(folder, None, NOW)
    assert (first.number, second.number) == (1, 2)
    assert second.attempt == 2
    second.check()
    with pytest.raises(SupersededError, match="trainer start 2 now owns"):
        first.check()


def test_an_attempt_that_starts_late_does_not_take_over(folder: Folder) -> None:
    raise_fence(folder, 5, NOW)
    with pytest.raises(SupersededError, match="attempt 5 now owns"):
        raise_fence(folder, 4, NOW)
    assert marker_numbers(folder) == [1]


def test_a_recreated_resource_counts_its_attempts_from_one(folder: Folder) -> None:
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
