"""The file of a checkpoint's tensors is the one that the library writes."""

from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from safetensors.numpy import _TYPES

from detection_trainer.checkpoints.safetensors_writer import pack_tensors

TYPES = [np.dtype(kind) for kind in _TYPES.values()]


def arrays(kind: "np.dtype[Any]") -> dict[str, Any]:
    name = kind.name
    return {
        f"b/{name}": np.arange(6).reshape(2, 3).astype(kind),
        f"a/{name}": np.array(1, kind),
        f"c/{name}": np.zeros((0, 4), kind),
        f'd/é "{name}"': np.arange(24).astype(kind)[::2].reshape(3, 4).T,
    }


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_it_is_byte_by_byte_the_library_s(kind: "np.dtype[Any]") -> None:
    tensors = arrays(kind)
    whole = {
        name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()
    }
    assert b"".join(pack_tensors(tensors)) == safetensors.numpy.save(whole)


def test_types_are_in_the_library_s_order() -> None:
    tensors = {name: array for kind in TYPES for name, array in arrays(kind).items()}
    whole = {
        name: np.ascontiguousarray(array).reshape(array.shape) for name, array in tensors.items()
    }
    packed = pack_tensors(tensors)
    data = b"".join(packed)
    assert data == safetensors.numpy.save(whole)
    assert packed.size == len(data)
    assert b"".join(pack_tensors({})) == safetensors.numpy.save({})


@pytest.mark.parametrize("kind", [">f4", "O", "complex128"])
def test_a_type_without_a_name_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"x: expected one of bool.*received dtype"):
        pack_tensors({"x": np.zeros(2, kind)})


def test_nothing_is_copied() -> None:
    array = np.zeros(1000, np.float32)
    packed = pack_tensors({"x": array})
    array[0] = 1.0
    assert safetensors.numpy.load(b"".join(packed))["x"][0] == 1.0
