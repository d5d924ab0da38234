"""Files as torch.save writes them, in both of its layouts, made without torch."""

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt

from detection_trainer.weights.torch.efficientnet_lite_names import variable_paths

Arrays = Mapping[str, npt.NDArray[Any]]
MAGIC, VERSION = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<i8": "LongStorage"}


def named_as_torch(module: str, name: str, base: type = object) -> Any:
    """Return a class that pickles as a name of torch's."""
    return type(name, (base,), {"__module__": module})


FAKES = {name: named_as_torch("torch", name) for name in STORAGES.values()}
REBUILD = named_as_torch("torch._utils", "_rebuild_tensor_v2")


@dataclass
class Stored:
    """A storage, and the tensor that shows all of it from `offset` on."""

    key: str
    numbers: npt.NDArray[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        storage = Row(self.key, self.numbers)
        return REBUILD, (storage, self.offset, self.shape, self.strides, False, OrderedDict())


@dataclass
class Row:
    """What a persistent id refers to."""

    key: str
    numbers: npt.NDArray[Any]


class TorchPickler(pickle.Pickler):
    """Writes storages as torch does: by telling of them."""

    def persistent_id(self, value: Any) -> Any:
        """Return the reference to a storage."""
        if not isinstance(value, Row):
            return None
        kind = FAKES[STORAGES[value.numbers.dtype.str]]
        return ("storage", kind, value.key, "cpu", value.numbers.size, *self.more)

    more: tuple[Any, ...] = ()


class OldTorchPickler(TorchPickler):
    """Writes the field for views too; it is always None."""

    more = (None,)


def stored(key: str, array: npt.NDArray[Any], *, gap: int = 0) -> Stored:
    """Return `array` as a view of a storage: kernels transposed, as those that came from TF are."""
    held = (array.transpose(2, 3, 1, 0) if array.ndim == 4 else array).copy(order="C")
    flat = np.concatenate([np.full(gap, 9, array.dtype), held.ravel()])
    steps = [s // array.itemsize for s in held.strides]
    strides = tuple(steps[axis] for axis in (3, 2, 0, 1)) if array.ndim == 4 else tuple(steps)
    return Stored(key, flat, gap, array.shape, strides)


def pickled(value: Any, pickler: type[TorchPickler] = OldTorchPickler) -> bytes:
    """Pickle as a program with torch would; its modules are only played."""
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    vars(torch).update(FAKES, _utils=utils)
    vars(utils)["_rebuild_tensor_v2"] = REBUILD
    buffer = io.BytesIO()
    with patch.dict(sys.modules, {"torch": torch, "torch._utils": utils}):
        pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def old_file(
    value: Any, rows: Mapping[str, npt.NDArray[Any]], *, little_endian: bool = True
) -> bytes:
    """Return the layout of before torch 1.6."""
    head = [MAGIC, VERSION, {"protocol_version": VERSION, "little_endian": little_endian}]
    parts = [pickled(part) for part in (*head, value, list(rows))]
    for numbers in rows.values():
        parts += [struct.pack("<q", numbers.size), numbers.tobytes()]
    return b"".join(parts)


def new_file(
    value: Any, rows: Mapping[str, npt.NDArray[Any]], *, order: bytes = b"little"
) -> bytes:
    """Return the layout since torch 1.6."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("lite0/data.pkl", pickled(value, TorchPickler))
        archive.writestr("lite0/byteorder", order)
        for key, numbers in rows.items():
            archive.writestr(f"lite0/data/{key}", numbers.tobytes())
    return buffer.getvalue()


LAYOUTS: dict[str, Callable[..., bytes]] = {"since 1.6": new_file, "before 1.6": old_file}


def state_dict(arrays: Arrays, gap: int = 3) -> tuple[OrderedDict[str, Stored], dict[str, Any]]:
    """Return tensors by name, and the numbers of their storages by key."""
    tensors = {name: stored(str(i), a, gap=gap) for i, (name, a) in enumerate(arrays.items())}
    return OrderedDict(tensors), {t.key: t.numbers for t in tensors.values()}


def as_torch(values: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Return the values of our paths below `backbone/` with torch's names and order of axes."""
    return {name: turned(path, values[path]) for name, path in variable_paths().items()}


def turned(path: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a kernel [rows, columns, in, out] as torch has it; [rows, columns, channel, 1] too."""
    if array.ndim != 4:
        return array
    return array.transpose(2, 3, 0, 1) if "_dwconv/" in path else array.transpose(3, 2, 0, 1)
