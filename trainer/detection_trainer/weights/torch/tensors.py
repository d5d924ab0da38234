"""Reads a state dict from a file of torch.save, in both of its layouts.

    since torch 1.6     a zip: …/data.pkl, and …/data/0, 1, … for each storage
    before              pickles one after another (a magic number, a version, the writer's sizes,
                        the state dict, the keys of its storages), then each storage: its length
                        and its bytes

Only names, shapes and numbers are read, by `unpickler`. Imports neither torch nor TensorFlow.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from detection_trainer.errors import DamagedCheckpointError, RestoreRefusedError
from detection_trainer.storage import Folder
from detection_trainer.storage.stream import open_stream
from detection_trainer.weights.archive import open_archive, read_entry
from detection_trainer.weights.torch.unpickler import (
    MAX_PICKLE_BYTES,
    ForbiddenNameError,
    Storage,
    Tensor,
    load_plain,
    load_tensors,
)

SUFFIXES = (".pth", ".pt")
_PICKLE_MARK, _ZIP_MARK = b"\x80", b"PK\x03\x04"
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_DATA = "/data.pkl"
_FEW_BYTES = 64
_LENGTH = struct.Struct("<q")
_BROKEN = (
    OSError,
    EOFError,
    LookupError,
    AttributeError,
    TypeError,
    ValueError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
    ImportError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What pickletools and zipfile raise for invalid bytes."""


def is_torch_file(folder: Folder, name: str) -> bool:
    """Return whether the file is torch's, by its first bytes or by its name."""
    if not folder.exists(name):
        return False
    beginning = folder.read_range(name, 0, len(_ZIP_MARK))
    if beginning == _ZIP_MARK and not name.endswith(SUFFIXES):
        return _is_torch_archive(folder, name)
    return name.endswith(SUFFIXES) or beginning.startswith(_PICKLE_MARK)


def read_tensors(folder: Folder, name: str) -> dict[str, Tensor]:
    """Return the tensors in the file by name; of an object only the header is fetched.

    Raises:
        DamagedCheckpointError: it is invalid, or not a state dict.
        RestoreRefusedError: reading it would run code.
    """
    with _opened(folder, name) as file:
        return file.tensors


def read_arrays(
    folder: Folder, name: str, wanted: Mapping[str, str]
) -> dict[str, npt.NDArray[Any]]:
    """Return the values of the tensors `wanted`, key -> name; raises as `read_tensors`."""
    with _opened(folder, name) as file:
        return {key: _values(file, file.tensors[tensor]) for key, tensor in wanted.items()}


class _File(Protocol):
    """One of the layouts."""

    tensors: dict[str, Tensor]

    def read(self, storage: Storage) -> bytes:
        """Return the bytes of `storage`."""


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[_File]:
    uri = folder.uri_of(name)
    try:
        with open_stream(folder, name) as stream:
            is_archive = stream.read(len(_ZIP_MARK)) == _ZIP_MARK
            stream.seek(0)
            yield _Archive(stream) if is_archive else _Sequence(stream)
    except ForbiddenNameError as error:
        msg = (
            f"{uri} is a pickle that asks for {error}, and unpickling could run any code; "
            "expected tensors alone, as torch.save(model.state_dict(), file) writes them. Nothing "
            "of it was run: take the file from a place that you trust, or save the state dict alone"
        )
        raise RestoreRefusedError(msg) from error
    except _BROKEN as error:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        msg = (
            f"{uri}: expected a state dict as torch.save writes it; reading it failed: {text}: "
            "fetch the file again, or save it again"
        )
        raise DamagedCheckpointError(msg) from error


class _Sequence:
    """The layout before torch 1.6."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read everything except the storages, and check that they are complete."""
        self._stream = stream
        if (load_plain(stream), load_plain(stream)) != (_MAGIC, _VERSION):
            raise ValueError("it is a pickle, but not one that torch.save wrote")
        if not load_plain(stream)["little_endian"]:
            raise ValueError("it was written on a big-endian machine")
        self.tensors = load_tensors(stream)
        storages = {t.storage.key: t.storage for t in self.tensors.values()}
        keys = load_plain(stream)
        place, self._places = stream.tell(), {}
        for key in keys:
            self._places[key] = place
            place += _LENGTH.size + storages[key].size
        size = stream.seek(0, io.SEEK_END)
        if place != size:
            raise ValueError(f"it has {size} bytes, and its header describes {place}")

    def read(self, storage: Storage) -> bytes:
        """Return the bytes of `storage`."""
        self._stream.seek(self._places[storage.key])
        (length,) = _LENGTH.unpack(self._stream.read(_LENGTH.size))
        if length != storage.length:
            raise ValueError(
                f"a storage has {length} numbers, and the header states {storage.length}"
            )
        return self._stream.read(storage.size)


class _Archive:
    """The layout since torch 1.6; reading a storage verifies the zip's checksum."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read the state dict, and check that its storages exist."""
        self._archive = open_archive(stream)
        names = self._archive.namelist()
        data = next((name for name in names if name.endswith(_DATA)), None)
        if data is None:
            raise ValueError("it is a zip without data.pkl")
        self._root = data.removesuffix(_DATA)
        order = f"{self._root}/byteorder"
        if order in names and read_entry(self._archive, order, _FEW_BYTES) != b"little":
            raise ValueError("it was written on a big-endian machine")
        self.tensors = load_tensors(io.BytesIO(read_entry(self._archive, data, MAX_PICKLE_BYTES)))
        for storage in {tensor.storage for tensor in self.tensors.values()}:
            found = self._archive.getinfo(self._entry(storage)).file_size
            if found != storage.size:
                raise ValueError(f"{self._entry(storage)} has {found} bytes, not {storage.size}")

    def read(self, storage: Storage) -> bytes:
        """Return the bytes of `storage`."""
        return read_entry(self._archive, self._entry(storage), storage.size)

    def _entry(self, storage: Storage) -> str:
        return f"{self._root}/data/{storage.key}"


def _values(file: _File, tensor: Tensor) -> npt.NDArray[Any]:
    numbers = np.frombuffer(file.read(tensor.storage), tensor.storage.dtype)
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    part = numbers[tensor.offset :]
    return np.lib.stride_tricks.as_strided(part, tensor.shape, strides, writeable=False).copy()


def _is_torch_archive(folder: Folder, name: str) -> bool:
    try:
        with open_stream(folder, name) as stream, open_archive(stream) as archive:
            return any(entry.endswith(_DATA) for entry in archive.namelist())
    except _BROKEN:
        return False  # The next reader reports what is wrong with it.
