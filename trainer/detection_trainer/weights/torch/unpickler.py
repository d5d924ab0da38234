"""Unpickles a state dict that torch.save wrote, and nothing else: no code in the file is run.

A pickle names functions and has them called. A state dict needs three, and stand-ins that only take
notes answer for them here; a pickle that names any other is refused. Needs no torch.
"""

import collections
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
"""Classes of module `torch` -> what their bytes are."""
_VIEW = 5
"""Where torch before 0.4 told of a storage that is a part of another."""


class ForbiddenNameError(Exception):
    """The pickle wants something that no state dict needs; it got nothing."""


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers in a row, of which tensors show parts."""

    key: str
    dtype: str
    length: int

    @property
    def size(self) -> int:
        """How many bytes they are."""
        return self.length * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Tensor:
    """A part of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def require_inside(self) -> None:
        """Refuse a tensor that reaches out of its storage.

        Raises:
            ValueError: it does.
        """
        numbers = (self.offset, *self.shape, *self.strides)
        whole = all(type(number) is int and number >= 0 for number in numbers)
        if not whole or len(self.shape) != len(self.strides):
            raise ValueError(f"a tensor has the place {numbers}")
        steps = zip(self.shape, self.strides, strict=True)
        last = self.offset + sum((side - 1) * stride for side, stride in steps)
        if 0 not in self.shape and last >= self.storage.length:
            raise ValueError(f"a tensor ends at {last} of a storage of {self.storage.length}")


def load_plain(file: BinaryIO) -> Any:
    """Return the next pickle of `file`; see `load_tensors`."""
    return _StateDictUnpickler(file).load()


def load_tensors(file: BinaryIO) -> dict[str, Tensor]:
    """Return the tensors of the state dict that is the next pickle of `file`, by name.

    Raises:
        ForbiddenNameError: it asks for anything else; nothing of that was done.
        ValueError: it is something else. Bytes that are no pickle raise whatever pickle does.
    """
    found = load_plain(file)
    is_state = isinstance(found, Mapping) and all(isinstance(name, str) for name in found)
    others = (
        [type(v).__name__ for v in found.values() if not isinstance(v, Tensor)] if is_state else []
    )
    if not is_state or others or not found:
        kind = f"{type(found).__name__} with {others[0]}" if others else type(found).__name__
        raise ValueError(
            f"expected a state dict, names and their tensors; received {kind}: save "
            "model.state_dict() alone"
        )
    for tensor in found.values():
        tensor.require_inside()
    return dict(found)


class _Rebuild:
    """Stands for torch._utils._rebuild_tensor_v2. Has no attribute that a pickle could set."""

    __slots__ = ()

    def __call__(self, *arguments: Any) -> Tensor:
        storage, offset, shape, strides = arguments[:4]
        if not isinstance(storage, Storage):
            raise TypeError(f"a tensor rests on {type(storage).__name__}, no storage")
        return Tensor(storage, offset, tuple(shape), tuple(strides))


class _StateDictUnpickler(pickle.Unpickler):
    """Knows three names, and storages by what is told of them."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Rebuild()
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        raise ForbiddenNameError(f"{module}.{name}")

    def persistent_load(self, told: Any) -> Storage:
        kind, dtype, key, _, length = told[:_VIEW]
        known = kind == "storage" and dtype in _DTYPES.values() and isinstance(key, str)
        if not known or type(length) is not int or length < 0 or any(told[_VIEW:]):
            raise ValueError(f"a storage is told of as {told!r:.200}")
        return Storage(key, dtype, length)
