"""Datasets as a whole: what is found and counted, and what is refused before the first step."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any

import pytest
from obstore.store import MemoryStore

from detection_trainer.contract.dataset import Place
from detection_trainer.data import dataset as module
from detection_trainer.data import source
from detection_trainer.data.dataset import Dataset, open_dataset
from detection_trainer.errors import (
    DataInvalidError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from detection_trainer.storage import Folder
from detection_trainer.storage.objects import ObjectStorage
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset

GOOD = Drawn()
OUTSIDE = Drawn(boxes=((0.5, 0.5, 1.5, 1.0),))


def opened(folder: Path, pattern: str = "*.tfrecord", **options: Any) -> Dataset:
    place = Place(uri=f"{folder.as_uri()}/{pattern}")
    return open_dataset(place, CLASSES, folder / "cache", **options)


def damage(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_images_come_in_the_order_of_files_and_records(tmp_path: Path) -> None:
    write_dataset(tmp_path / "b.tfrecord", [Drawn(seed=3)])
    write_dataset(tmp_path / "a.tfrecord", [Drawn(seed=1), Drawn(seed=2)])
    write_dataset(tmp_path / "c.txt", [Drawn(seed=4)])
    dataset = opened(tmp_path)
    assert [image.annotations.name for image in dataset.images] == ["image-1", "image-2", "image-3"]
    assert [image.file for image in dataset.images] == [0, 0, 1]
    for image, drawn in zip(
        dataset.images, (Drawn(seed=1), Drawn(seed=2), Drawn(seed=3)), strict=True
    ):
        content = dataset.files[image.file].path.read_bytes()
        encoded = content[image.offset : image.offset + image.annotations.image_length]
        assert encoded == drawn.encoded()


def test_the_summary_counts(tmp_path: Path) -> None:
    many = Drawn(boxes=((0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)), labels=(2, 1), height=40)
    path = write_dataset(tmp_path / "a.tfrecord", [GOOD, many, Drawn(boxes=(), labels=())])
    summary = opened(tmp_path).summary
    assert (summary.files, summary.images, summary.boxes) == (1, 3, 3)
    assert summary.images_without_boxes == 1
    assert summary.boxes_per_class == {"tree": 2, "shrub": 1}
    assert (summary.image_height, summary.image_width) == ([24, 40], [32, 32])
    assert summary.size_bytes == path.stat().st_size
    assert summary.every_checksum_verified
    assert summary.every_image_decoded


def test_the_digest_follows_the_content_and_not_the_place(tmp_path: Path) -> None:
    for folder in ("here", "there"):
        write_dataset(tmp_path / folder / "a.tfrecord", [GOOD, Drawn(seed=1)])
    write_dataset(tmp_path / "other" / "a.tfrecord", [Drawn(seed=1), GOOD])
    here, there, other = (opened(tmp_path / name).digest for name in ("here", "there", "other"))
    assert here == there
    assert here != other


@pytest.mark.parametrize(("most", "padded"), [(0, 8), (1, 8), (8, 8), (9, 16), (17, 24)])
def test_boxes_are_padded_to_a_multiple_of_eight(tmp_path: Path, most: int, padded: int) -> None:
    drawn = Drawn(boxes=((0.0, 0.0, 0.5, 0.5),) * most, labels=(1,) * most)
    write_dataset(tmp_path / "a.tfrecord", [drawn])
    assert opened(tmp_path, purpose="validation").padded_boxes == padded


# What is refused


@pytest.mark.parametrize(
    ("records", "purpose", "expected"),
    [
        pytest.param(
            [], "train", r"expected at least one image; the 1 files hold none", id="empty"
        ),
        pytest.param(
            [], "validation", "leave out dataset.validation", id="an empty validation set"
        ),
        pytest.param(
            [Drawn(boxes=(), labels=())], "train", "1 images, but not one box", id="no box at all"
        ),
        pytest.param([GOOD, OUTSIDE], "train", "record 1 at byte", id="a box outside the image"),
        pytest.param(
            [GOOD.record(image__encoded=[b"x"])], "train", "neither JPEG nor PNG", id="no image"
        ),
        pytest.param([Drawn(labels=(7,))], "train", "outside the label map", id="a foreign label"),
        pytest.param([b"\x0a\x05ab"], "train", "tf.train.Example", id="no example"),
    ],
)
def test_what_cannot_be_trained_on(
    tmp_path: Path, records: Sequence[bytes | Drawn], purpose: str, expected: str
) -> None:
    write_dataset(tmp_path / "a.tfrecord", records)
    with pytest.raises(DataInvalidError) as caught:
        opened(tmp_path, purpose=purpose)
    assert expected in str(caught.value)
    assert tmp_path.as_uri() in str(caught.value)


def test_a_flipped_byte_names_file_record_and_offset(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [GOOD, GOOD])
    second = path.stat().st_size // 2
    damage(path, second + 500)
    expected = rf"a\.tfrecord: record 1 at byte {second}: .* do not match their checksum"
    with pytest.raises(DataInvalidError, match=expected):
        opened(tmp_path)


def test_every_flipped_byte_and_every_cut_is_detected(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [Drawn(height=4, width=4), GOOD])
    whole = path.read_bytes()
    for at in range(0, len(whole), 37):
        damage(path, at)
        with pytest.raises(DataInvalidError, match=r"a\.tfrecord: record [01] at byte"):
            opened(tmp_path)
        if at:
            path.write_bytes(whole[:at])
            with pytest.raises(DataInvalidError, match=r"a\.tfrecord"):
                opened(tmp_path, max_bad_records=0)
        path.write_bytes(whole)


def test_a_truncated_file_names_where_it_ends(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [GOOD, GOOD])
    second = path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataInvalidError, match=rf"record 1 at byte {second}: .* truncated"):
        opened(tmp_path)


def test_bad_records_are_passed_over_as_far_as_allowed_and_named(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [OUTSIDE, GOOD, GOOD, GOOD])
    path.write_bytes(path.read_bytes()[:-1])
    dataset = opened(tmp_path, max_bad_records=2)
    assert len(dataset) == 2
    assert dataset.summary.bad_record_count == 2
    assert "record 0 at byte 0: box 0 of 1 lies outside" in dataset.summary.bad_records[0]
    assert "record 3" in dataset.summary.bad_records[1]
    with pytest.raises(
        DataInvalidError, match=r"(?s)more than the 1 bad records.*record 0.*record 3"
    ):
        opened(tmp_path, max_bad_records=1)


def test_a_broken_length_is_never_passed_over(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [GOOD, GOOD])
    damage(path, path.stat().st_size // 2)
    with pytest.raises(DataInvalidError, match="the records behind it cannot be read"):
        opened(tmp_path, max_bad_records=10)


def test_a_large_dataset_is_verified_by_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [GOOD, GOOD])
    damage(path, path.stat().st_size - 1)
    monkeypatch.setattr(module, "VERIFIED_BYTES", 100)
    monkeypatch.setattr(module, "DECODED_BYTES", 100)
    summary = opened(tmp_path).summary
    assert summary.images == 2
    assert not summary.every_checksum_verified
    assert not summary.every_image_decoded
    damage(path, 500)
    with pytest.raises(DataInvalidError, match="record 0"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        pytest.param("*.records", "matches no file.* holds a b.tfrecord, notes", id="no match"),
        pytest.param("sub", r"is a folder: name its files, for example .*/sub/\*", id="a folder"),
        pytest.param("none.tfrecord", "matches no file", id="a missing file"),
    ],
)
def test_for_a_missing_dataset_the_error_lists_what_exists(
    tmp_path: Path, pattern: str, expected: str
) -> None:
    write_dataset(tmp_path / "a b.tfrecord", [GOOD])
    write_dataset(tmp_path / "sub/c.tfrecord", [GOOD])
    (tmp_path / "notes").write_text("")
    with pytest.raises(NotFoundError, match=expected):
        opened(tmp_path, pattern)


@pytest.mark.parametrize("pattern", ["a b.tfrecord", "a%20b.tfrecord", "*", "a*d", "*b.t*"])
def test_patterns(tmp_path: Path, pattern: str) -> None:
    write_dataset(tmp_path / "a b.tfrecord", [GOOD])
    assert len(opened(tmp_path, pattern)) == 1


# Object storage


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Folder:
    folder = Folder(ObjectStorage(MemoryStore(), "s3://bucket"), "s3://bucket")

    def open_parent(uri: str, _: object) -> tuple[Folder, str]:
        parent, _, name = uri.rpartition("/")
        return folder.child(parent.removeprefix("s3://bucket")), name

    monkeypatch.setattr(source, "open_parent", open_parent)
    return folder


def from_bucket(cache: Path) -> Dataset:
    return open_dataset(Place(uri="s3://bucket/data/train-*"), CLASSES, cache)


def test_objects_are_copied_once(bucket: Folder, tmp_path: Path) -> None:
    content = write_dataset(tmp_path / "made", [GOOD]).read_bytes()
    bucket.write("data/train-1", content)
    bucket.write("data/deeper/train-2", content)
    first = from_bucket(tmp_path / "cache")
    assert len(first) == 1
    assert first.files[0].uri == "s3://bucket/data/train-1"
    inode = first.files[0].path.stat().st_ino
    assert from_bucket(tmp_path / "cache").files[0].path.stat().st_ino == inode


def test_a_copy_of_another_size_is_replaced(bucket: Folder, tmp_path: Path) -> None:
    bucket.write("data/train-1", write_dataset(tmp_path / "made", [GOOD]).read_bytes())
    path = from_bucket(tmp_path / "cache").files[0].path
    path.write_bytes(b"half")
    assert len(from_bucket(tmp_path / "cache")) == 1


def test_a_changed_object_is_copied_again(bucket: Folder, tmp_path: Path) -> None:
    bucket.write("data/train-1", write_dataset(tmp_path / "made", [GOOD]).read_bytes())
    before = from_bucket(tmp_path / "cache").digest
    other = write_dataset(tmp_path / "made", [Drawn(seed=9)]).read_bytes()
    bucket.write("data/train-1", other)
    assert from_bucket(tmp_path / "cache").digest != before


def test_a_transfer_that_was_cut_off_is_reported(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("data/train-1", write_dataset(tmp_path / "made", [GOOD]).read_bytes())
    monkeypatch.setattr(
        Folder, "download", lambda _self, _path, target: target.write_bytes(b"half")
    )
    with pytest.raises(StorageUnavailableError, match=r"expected \d+ bytes; received 4"):
        from_bucket(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.partial"))
    assert not list((tmp_path / "cache").glob("*.tfrecord"))


def test_a_full_cache_is_reported(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("data/train-1", b"x")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(StorageFullError, match="caching the dataset in"):
        from_bucket(tmp_path / "cache")


def test_a_cache_without_room_is_reported_before_the_first_byte(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("data/train-1", write_dataset(tmp_path / "made", [GOOD]).read_bytes())
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1000, free=10))
    monkeypatch.setattr(Folder, "download", None)
    with pytest.raises(StorageFullError, match="--cache-dir"):
        from_bucket(tmp_path / "cache")


def test_two_processes_that_fill_a_cache_at_once_do_not_disturb_each_other(
    bucket: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.write("data/train-1", write_dataset(tmp_path / "made", [GOOD]).read_bytes())
    both, download = Barrier(2, timeout=60), Folder.download

    def download_at_once(folder: Folder, path: str, target: Path) -> None:
        download(folder, path, target)
        both.wait()

    monkeypatch.setattr(Folder, "download", download_at_once)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: from_bucket(tmp_path / "cache"), range(2))
    assert first.digest == second.digest
    assert len(list((tmp_path / "cache").glob("*.tfrecord"))) == 1


def test_a_file_that_vanishes_meanwhile_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [GOOD])
    found = source.find_files(Place(uri=path.as_uri()))
    monkeypatch.setattr(module, "find_files", lambda *_: found)
    path.unlink()
    with pytest.raises(NotFoundError, match="reading"):
        opened(tmp_path)


@pytest.mark.parametrize("feature", ["image__object__is_crowd", "image__object__group_of"])
def test_a_training_set_of_crowds_alone_is_refused(tmp_path: Path, feature: str) -> None:
    write_dataset(tmp_path / "a.tfrecord", [Drawn().record(**{feature: [1]})])
    with pytest.raises(DataInvalidError, match="all 1 boxes are crowds"):
        opened(tmp_path)
    assert len(opened(tmp_path, purpose="validation")) == 1
    write_dataset(tmp_path / "b.tfrecord", [GOOD])
    assert len(opened(tmp_path)) == 2


def test_a_place_may_have_several_patterns_and_counts_each_file_once(tmp_path: Path) -> None:
    for number, name in enumerate(("b/x", "a/x", "a/y")):
        write_dataset(tmp_path / f"{name}.tfrecord", [Drawn(seed=number)])
    uris = [f"{tmp_path.as_uri()}/{p}" for p in ("b/*.tfrecord", "a/*", "a/x.tfrecord")]
    place = Place(uri=uris[0], additional_uris=uris[1:])
    dataset = open_dataset(place, CLASSES, tmp_path / "cache")
    assert [i.annotations.name for i in dataset.images] == ["image-0", "image-1", "image-2"]
    absent = Place(uri=uris[0], additional_uris=[f"{tmp_path.as_uri()}/absent/*"])
    with pytest.raises(NotFoundError, match=r"absent/\* matches no file"):
        open_dataset(absent, CLASSES, tmp_path / "cache")


def test_a_percent_sign_in_a_name_is_one(tmp_path: Path) -> None:
    path = write_dataset(tmp_path / "50%20/a%20b.tfrecord", [GOOD])
    [found] = source.find_files(Place(uri=f"{path.parent.as_uri()}/*.tfrecord"))
    assert source.find_files(Place(uri=found.uri))[0].entry == found.entry
