"""Checkpoints that TensorFlow writes, read without it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from detection_trainer.errors import DamagedCheckpointError, NotFoundError
from detection_trainer.storage import open_folder
from detection_trainer.weights.odapi.bundle import Bundle, open_bundle

GENERATOR = np.random.default_rng(0)
TENSORS: dict[str, Any] = {
    "model/a/kernel": GENERATOR.normal(size=(3, 3, 2, 4)).astype(np.float32),
    "model/a/bias": GENERATOR.normal(size=4),
    "model/b/half": GENERATOR.normal(size=(2, 5)).astype(np.float16),
    "step": np.array(25000, np.int64),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 3), np.int32),
}


def save(folder: Path, tensors: dict[str, Any] = TENSORS) -> str:
    prefix = folder / "ckpt-26"
    slices = [""] * len(tensors)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=slices,
        tensors=list(tensors.values()),
    )
    return prefix.name


def opened(folder: Path) -> Bundle:
    return open_bundle(open_folder(folder.as_uri()), "ckpt-26")


def test_every_tensor_is_read_back(tmp_path: Path) -> None:
    save(tmp_path)
    bundle = opened(tmp_path)
    assert bundle.tensors.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        assert bundle.tensors[name].shape == expected.shape
        found = bundle.read(name)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)


def test_an_index_of_many_blocks_is_read(tmp_path: Path) -> None:
    many = {f"model/layer-{i}/kernel": np.array([i], np.float32) for i in range(5000)}
    save(tmp_path, many)
    bundle = opened(tmp_path)
    assert bundle.tensors.keys() == many.keys()
    assert all(bundle.read(name)[0] == value[0] for name, value in list(many.items())[::500])


def test_what_is_no_number_has_no_dtype(tmp_path: Path) -> None:
    tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(tmp_path / "ckpt-26"))
    bundle = opened(tmp_path)
    assert bundle.tensors["_CHECKPOINTABLE_OBJECT_GRAPH"].dtype is None
    assert bundle.read("x/.ATTRIBUTES/VARIABLE_VALUE") == 1.0


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"ckpt-26\.index"):
        opened(tmp_path)


@pytest.mark.parametrize("position", [0, 10, -1, -60])
def test_a_flipped_byte_of_the_index_is_found(tmp_path: Path, position: int) -> None:
    save(tmp_path)
    index = tmp_path / "ckpt-26.index"
    content = bytearray(index.read_bytes())
    content[position] ^= 0x40
    index.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match="invalid bytes"):
        opened(tmp_path)


@pytest.mark.parametrize("length", [0, 1, 40, 100])
def test_a_cut_index_is_found(tmp_path: Path, length: int) -> None:
    save(tmp_path)
    index = tmp_path / "ckpt-26.index"
    index.write_bytes(index.read_bytes()[:length])
    with pytest.raises(DamagedCheckpointError, match="invalid bytes"):
        opened(tmp_path)


def test_a_flipped_byte_of_a_tensor_is_found_where_it_is_read(tmp_path: Path) -> None:
    save(tmp_path)
    bundle = opened(tmp_path)
    data = tmp_path / "ckpt-26.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[bundle.tensors["model/a/kernel"].offset] ^= 1
    data.write_bytes(content)
    with pytest.raises(DamagedCheckpointError, match="model/a/kernel"):
        bundle.read("model/a/kernel")
    assert np.array_equal(bundle.read("model/a/bias"), TENSORS["model/a/bias"])
