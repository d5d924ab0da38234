"""What the cache keeps: never more than its share, and always the files in use."""

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from obstore.store import MemoryStore

from detection_trainer.data.cache import Reservation, reserve_copies
from detection_trainer.data.source import RemoteFile, fetch_files
from detection_trainer.storage import Folder
from detection_trainer.storage.objects import ObjectStorage

DISK = 1000
Disk = Callable[[int], None]


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Give a disk of 1000 bytes, all free; a test may change what is free."""

    def with_free(free: int) -> None:
        usage = SimpleNamespace(total=DISK, free=free)
        monkeypatch.setattr("shutil.disk_usage", lambda _: usage)

    with_free(DISK)
    return with_free


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Give a cache with three copies of 150 bytes, `a` the least recently used."""
    for day, name in enumerate("abc", start=1):
        path = tmp_path / f"{name}.tfrecord"
        path.write_bytes(bytes(150))
        os.utime(path, (day, 100 - day))
    return tmp_path


def names(cache: Path) -> str:
    return "".join(sorted(path.stem for path in cache.glob("*.tfrecord")))


def reserve(cache: Path, used: str, to_come: int = 0) -> Reservation:
    return reserve_copies(cache, [f"{name}.tfrecord" for name in used], to_come)


@pytest.mark.parametrize(
    ("to_come", "kept"),
    [
        pytest.param(50, "abc", id="half of the disk is not reached"),
        pytest.param(51, "bc", id="one too many"),
        pytest.param(201, "c", id="two too many"),
        pytest.param(2000, "", id="more than the disk has"),
    ],
)
def test_the_least_recently_used_is_deleted_first(cache: Path, to_come: int, kept: str) -> None:
    reserve(cache, "d", to_come)
    assert names(cache) == kept


def test_what_fits_into_the_share_must_fit_into_what_is_free_too(cache: Path, disk: Disk) -> None:
    disk(10)
    reserve(cache, "d", 50)
    assert names(cache) == "bc"


def test_use_makes_young_and_leaves_the_time_of_change(cache: Path) -> None:
    changed = (cache / "a.tfrecord").stat().st_mtime_ns
    reserve(cache, "a")
    assert (cache / "a.tfrecord").stat().st_mtime_ns == changed
    gc.collect()
    reserve(cache, "d", 201)
    assert names(cache) == "a"


def test_files_in_use_are_kept_however_large_they_are(cache: Path) -> None:
    mine, others = reserve(cache, "ad", 5000), reserve(cache, "b")
    assert names(cache) == "a", "no trainer had reserved b"
    (cache / "b.tfrecord").write_bytes(bytes(600))
    reserve(cache, "e", 5000)
    assert names(cache) == "ab"
    del mine, others
    gc.collect()
    reserve(cache, "e", 5000)
    assert names(cache) == ""


def test_a_process_that_is_killed_uses_nothing_any_more(cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from detection_trainer.data.cache import *;"
        "held = reserve_copies(Path(sys.argv[1]), ['a.tfrecord'], 0); print('held', flush=True);"
        "sys.stdin.read()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cache)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        (cache / "a.0123.partial").touch()
        (cache / "x.0123.partial").touch()
        reserve(cache, "d", 5000)
        assert names(cache) == "a"
        assert [path.name for path in cache.glob("*.partial")] == ["a.0123.partial"]
        process.kill()
    reserve(cache, "d", 5000)
    assert names(cache) == ""
    gc.collect()
    assert [path.name for path in cache.iterdir()] == [".lock"]


@pytest.fixture
def remote() -> list[RemoteFile]:
    folder = Folder(ObjectStorage(MemoryStore(), "s3://b"), "s3://b")
    for name in "123":
        folder.write(name, bytes(300))
    return [RemoteFile(folder, entry) for entry in folder.list()]


def test_a_dataset_pushes_out_the_one_before_and_not_the_one_in_use(
    remote: list[RemoteFile], tmp_path: Path
) -> None:
    one = fetch_files(remote[:1], tmp_path / "cache")
    two = fetch_files(remote[1:2], tmp_path / "cache")
    assert all(file.path.exists() for file in (*one, *two)), "both are used"
    kept, gone = two[0].path, one[0].path
    del one
    gc.collect()
    three = fetch_files(remote[2:], tmp_path / "cache")
    assert (gone.exists(), kept.exists(), three[0].path.exists()) == (False, True, True)


def test_a_read_only_cache_still_serves_its_files(
    remote: list[RemoteFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (there,) = fetch_files(remote[:1], tmp_path / "cache")

    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", read_only)
    assert fetch_files(remote[:1], tmp_path / "cache")[0].path == there.path
