"""Writes arrays as a safetensors file without a copy of the file in memory.

A header, then the bytes of each array. `safetensors.numpy.save` returns the same bytes, but copies
them twice. Called by `format`. The format: https://github.com/huggingface/safetensors#format.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from detection_trainer.storage import Pieces

_ALIGNMENT = 8
_TYPES = {
    name: (rank, code)
    for rank, (name, code) in enumerate(
        (
            ("bool", "BOOL"), ("uint8", "U8"), ("int8", "I8"), ("int16", "I16"),
            ("uint16", "U16"), ("float16", "F16"), ("int32", "I32"), ("uint32", "U32"),
            ("float32", "F32"), ("complex64", "C64"), ("float64", "F64"), ("int64", "I64"),
            ("uint64", "U64"),
        )
    )
}  # fmt: skip
"""dtype -> its rank in the library's order, and its name in the header."""


def pack_tensors(tensors: Mapping[str, np.ndarray[Any, Any]]) -> Pieces:
    """Return the file of `tensors` in pieces; they keep the arrays' memory until they are written.

    Raises:
        ValueError: the format does not support a dtype.
    """
    for name, array in tensors.items():
        if array.dtype.name not in _TYPES or array.dtype.byteorder == ">":
            expected = ", ".join(_TYPES)
            raise ValueError(f"{name}: expected one of {expected}; received {array.dtype!r}")
    # Wide types first, as the library does, so that each array is aligned.
    names = sorted(tensors, key=lambda name: (-_TYPES[tensors[name].dtype.name][0], name))
    header: dict[str, Any] = {}
    buffers, offset = [], 0
    for name in names:
        array = tensors[name]
        end = offset + array.nbytes
        header[name] = {
            "dtype": _TYPES[array.dtype.name][1],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        buffers.append(_bytes_of(array))
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return Pieces((memoryview(len(text).to_bytes(8, "little") + text), *buffers))


def _bytes_of(array: np.ndarray[Any, Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
