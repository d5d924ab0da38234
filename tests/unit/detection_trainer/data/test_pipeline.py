"""Batches: exact from any start, complete over an epoch, with any number of workers."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from detection_trainer.contract.dataset import Place
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.data import pipeline
from detection_trainer.data.dataset import Dataset, open_dataset
from detection_trainer.data.pipeline import (
    PADDING_ID,
    Shard,
    explained,
    shuffled_positions,
    training_batches,
    validation_batches,
)
from detection_trainer.errors import DataInvalidError, NotFoundError, TrainerError
from detection_trainer.models.targets import CROWD
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset

Array = npt.NDArray[Any]
COUNT = 7
ALL: list[dict[str, Any]] = [
    {"randomHorizontalFlip": {}}, {"randomVerticalFlip": {}}, {"randomRotation90": {}},
    {"randomScaleCrop": {}}, {"randomDistortColor": {}},
]  # fmt: skip


def drawn(seed: int) -> Drawn:
    kind = "JPEG" if seed % 2 else "PNG"
    boxes = ((0.1, 0.1, 0.3, 0.4), (0.5, 0.5, 0.9, 1.0), (0.2, 0.6, 0.4, 0.8))[: seed % 4]
    return Drawn(
        seed=seed, image_format=kind, boxes=boxes, labels=[1, 2, 1][: len(boxes)], height=24 + seed
    )


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = tmp_path_factory.mktemp("data")
    write_dataset(folder / "1.tfrecord", [drawn(seed) for seed in range(3)])
    write_dataset(folder / "2.tfrecord", [drawn(seed) for seed in range(3, COUNT)])
    return open_dataset(Place(uri=f"{folder.as_uri()}/*.tfrecord"), CLASSES, folder / "cache")


def spec(**changes: Any) -> TrainingSpec:
    document = {
        "model": {"backbone": "tiny", "imageSize": 64},
        "dataset": {"train": {"uri": "file:///data/*"}, "classes": list(CLASSES)},
        "steps": 10,
        "batchSize": 4,
        "checkpoints": {"storage": {"uri": "file:///runs/x"}},
        "augmentation": ALL,
        "seed": 3,
    }
    return TrainingSpec.model_validate({**document, **changes})


def taken(batches: tf.data.Dataset, count: int) -> list[tuple[Array, ...]]:
    return [tuple(part.numpy() for part in batch) for batch in batches.take(count)]


def same(left: list[tuple[Array, ...]], right: list[tuple[Array, ...]]) -> bool:
    return all(
        np.array_equal(a, b)
        for one, other in zip(left, right, strict=True)
        for a, b in zip(one, other, strict=True)
    )


def test_batches_have_the_promised_shapes(dataset: Dataset) -> None:
    ((images, boxes, classes),) = taken(training_batches(dataset, spec(), 0), 1)
    assert [part.shape for part in (images, boxes, classes)] == [(4, 64, 64, 3), (4, 8, 4), (4, 8)]
    assert [part.dtype for part in (images, boxes, classes)] == ["float32", "float32", "int32"]
    assert images.min() >= 0.0
    assert images.max() <= 255.0
    static = training_batches(dataset, spec(), 0).element_spec
    assert [tuple(part.shape) for part in static] == [(4, 64, 64, 3), (4, 8, 4), (4, 8)]


def test_a_start_in_the_middle_gives_the_same_bits(dataset: Dataset) -> None:
    from_zero = taken(training_batches(dataset, spec(), 0), 9)
    for start in (1, 4, 8):
        assert same(from_zero[start:], taken(training_batches(dataset, spec(), start), 9 - start))


def test_threads_do_not_show_in_the_result(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    parallel = taken(training_batches(dataset, spec(), 2), 3)
    monkeypatch.setattr(pipeline, "_PARALLEL", 1)
    assert same(parallel, taken(training_batches(dataset, spec(), 2), 3))


def test_another_seed_gives_other_batches(dataset: Dataset) -> None:
    assert not same(
        taken(training_batches(dataset, spec(), 0), 1),
        taken(training_batches(dataset, spec(seed=4), 0), 1),
    )


def test_a_late_start_is_as_quick_as_an_early_one(dataset: Dataset) -> None:
    late = 2**31 - 2
    assert len(taken(training_batches(dataset, spec(), late), 2)) == 2


def test_workers_make_the_rows_of_one_global_batch(dataset: Dataset) -> None:
    whole = taken(training_batches(dataset, spec(), 5), 2)
    parts = [
        taken(training_batches(dataset, spec(), 5, Shard(worker=worker, workers=2)), 2)
        for worker in range(2)
    ]
    joined = [
        tuple(np.concatenate(pair) for pair in zip(first, second, strict=True))
        for first, second in zip(*parts, strict=True)
    ]
    assert same(whole, joined)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_an_epoch_is_a_permutation_and_the_next_another(count: int) -> None:
    samples = tf.range(2 * count, dtype=tf.int64)
    positions = shuffled_positions(samples, count, seed=5).numpy()
    first, second = positions[:count].tolist(), positions[count:].tolist()
    assert sorted(first) == sorted(second) == list(range(count))
    assert count < 7 or first != second


def test_without_augmentation_each_image_comes_with_its_boxes(dataset: Dataset) -> None:
    plain = spec(augmentation=[], batchSize=COUNT)
    ((images, boxes, classes),) = taken(training_batches(dataset, plain, 0), 1)
    positions = shuffled_positions(tf.range(COUNT, dtype=tf.int64), COUNT, seed=3).numpy()
    for row, position in enumerate(positions):
        annotations = dataset.images[position].annotations
        count = len(annotations.boxes)
        assert np.array_equal(boxes[row, :count], annotations.boxes)
        assert classes[row].tolist() == [*annotations.labels, *[0] * (8 - count)]
        if position % 2 == 0:  # A PNG keeps its pixels.
            pixels = tf.image.resize(drawn(position).pixels().astype(np.float32), [64, 64])
            assert np.array_equal(images[row], pixels)


def test_boxes_come_before_the_padding_whatever_was_dropped(dataset: Dataset) -> None:
    crop = spec(augmentation=[{"randomScaleCrop": {"minScale": 0.3}}])
    dropped = 0
    for _, boxes, classes in taken(training_batches(dataset, crop, 0), 10):
        present = classes > 0
        assert (np.diff(present.astype(int), axis=1) <= 0).all()
        assert (boxes[~present] == 0.0).all()
        assert (boxes[present][:, 2:] > boxes[present][:, :2]).all()
        dropped += int((~present.any(axis=1)).sum())
    assert dropped


def test_crowds_come_behind_the_boxes_and_have_no_class(tmp_path: Path) -> None:
    crowded = Drawn(
        boxes=((0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.75, 0.75)), labels=(1, 2), crowd=(1, 0)
    )
    path = write_dataset(tmp_path / "a.tfrecord", [crowded])
    dataset = open_dataset(Place(uri=path.as_uri()), CLASSES, tmp_path)
    plain = spec(augmentation=[], batchSize=1)
    ((_, boxes, classes),) = taken(training_batches(dataset, plain, 0), 1)
    assert classes[0].tolist() == [2, CROWD, *[0] * 6]
    assert boxes[0, :2].tolist() == [[0.5, 0.5, 0.75, 0.75], [0.0, 0.0, 1.0, 1.0]]
    augmented = spec(augmentation=ALL, batchSize=1)
    for _, boxes, classes in taken(training_batches(dataset, augmented, 0), 10):
        present = classes[0] != 0
        assert CROWD in classes[0], "a crop is within a crowd that fills the image"
        assert boxes[0, classes[0] == CROWD].tolist() == [[0.0, 0.0, 1.0, 1.0]]
        assert not present[present.sum() :].any(), "no gap between boxes and padding"


def test_validation_reads_every_image_once_and_fills_up_the_last_batch(
    dataset: Dataset,
) -> None:
    batches = taken(validation_batches(dataset, spec()), 99)
    images, ids, sizes = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert images.shape == (8, 64, 64, 3)
    assert ids.tolist() == [*range(COUNT), PADDING_ID]
    assert sizes[:COUNT].tolist() == [[24 + seed, 32] for seed in range(COUNT)]
    pixels = tf.image.resize(drawn(2).pixels().astype(np.float32), [64, 64])
    assert np.array_equal(images[2], pixels)


def append_a_record(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def spoil_an_image_and_hide_it(path: Path) -> None:
    """Write nonsense over the pixels, and give the file its old time back."""
    before = path.stat().st_mtime_ns
    data = path.read_bytes()
    start = data.index(b"IDAT") + 4
    path.write_bytes(data[:start] + bytes(40) + data[start + 40 :])
    os.utime(path, ns=(before, before))


@pytest.mark.parametrize(
    ("change", "expected", "sentence"),
    [
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:100]),
            DataInvalidError,
            r"a\.tfrecord was written to while it was used",
            id="it becomes shorter",
        ),
        pytest.param(
            append_a_record, DataInvalidError, "was written to while", id="it becomes longer"
        ),
        pytest.param(Path.unlink, NotFoundError, r"a\.tfrecord failed: No such file", id="gone"),
        pytest.param(
            spoil_an_image_and_hide_it,
            DataInvalidError,
            r"reading .*a\.tfrecord.* failed during the run",
            id="its content is wrong under its old time",
        ),
    ],
)
def test_a_file_that_changes_under_the_run_is_named(
    tmp_path: Path, change: Callable[[Path], None], expected: type[TrainerError], sentence: str
) -> None:
    path = write_dataset(tmp_path / "a.tfrecord", [Drawn()])
    dataset = open_dataset(Place(uri=path.as_uri()), CLASSES, tmp_path)
    change(path)
    batches = training_batches(dataset, spec(batchSize=1), 0)
    with pytest.raises(expected, match=sentence):
        next(explained(batches, dataset))
