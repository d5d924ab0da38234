"""Reads the layers of a weights file of Keras from the headers of HDF5.

    *.weights.h5    Keras 3: layers/…/vars/0, 1, …; the group `vars` has the layer's name
    *.keras         a zip that contains such a file as `model.weights.h5`
    *.h5            the older layout, used by the files of keras.applications: one group per layer;
                    its attribute `weight_names` gives the order

Only numbers are read. A model's configuration is never deserialised, because it could run code.
Links to other files are not followed. Imports no TensorFlow.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import h5py
import numpy.typing as npt

from detection_trainer.errors import DamagedCheckpointError
from detection_trainer.storage import Folder
from detection_trainer.storage.stream import buffered, open_stream
from detection_trainer.weights.archive import ALWAYS_INFLATED, MAX_RATIO, open_archive, read_entry

HDF5_MAGIC, ZIP_MAGIC = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
MAX_WEIGHTS_BYTES = 1 << 31
"""Limit for all weights of a file, and for one variable; a ResNet152 detector has 300 MB."""
MAX_OBJECTS = 50_000
"""Limit of groups and variables of a file; a ResNet152 detector has 5,000."""
MAX_NAMES = 50_000
_MAX_DEPTH = 32
_INNER = "model.weights.h5"
_ZIP_HEADER = 30
_BROKEN = (
    OSError,
    LookupError,
    AttributeError,
    struct.error,
    ValueError,
    RuntimeError,
    TypeError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    MemoryError,
)
"""What h5py and zipfile raise for invalid bytes."""


@dataclass(frozen=True, slots=True)
class KerasLayer:
    """One layer with its variables, in the order of the file."""

    container: str
    """The model that contains the layer: the backbone of a classifier may be a nested model."""
    name: str
    variables: tuple[tuple[str, tuple[int, ...]], ...]
    """Place in the file and shape of each variable."""


def is_keras_file(folder: Folder, name: str) -> bool:
    """Return whether the first bytes of the file are those of HDF5 or of a zip."""
    if not folder.exists(name):
        return False
    beginning = folder.read_range(name, 0, len(HDF5_MAGIC))
    return beginning == HDF5_MAGIC or beginning.startswith(ZIP_MAGIC)


def read_layers(folder: Folder, name: str) -> list[KerasLayer]:
    """Return the layers of the file; of an object only the parts with headers are fetched.

    Raises:
        DamagedCheckpointError: it is invalid, or not a file of weights.
    """
    with _opened(folder, name) as file:
        root = _root(file)
        is_legacy = "layer_names" in root.attrs
        found = list(_legacy(root, _Budget()) if is_legacy else _by_vars(root, _Budget()))
        if not found:
            raise ValueError("it holds no layer with variables")
        return found


def read_arrays(
    folder: Folder, name: str, places: Mapping[str, str]
) -> dict[str, npt.NDArray[Any]]:
    """Return the array at each of `places`, key -> place in the file.

    Raises:
        DamagedCheckpointError: it is invalid.
    """
    with _opened(folder, name) as file:
        return {key: _numbers(_at(file, place)) for key, place in places.items()}


@contextmanager
def _opened(folder: Folder, name: str) -> Iterator[h5py.File]:
    try:
        with _content(folder, name) as content, h5py.File(content, "r") as file:
            yield file
    except _BROKEN as error:
        text = " ".join(str(error).split())[:300]
        msg = (
            f"{folder.uri_of(name)}: expected weights as Keras writes them (.weights.h5, .keras, "
            f".h5); reading them failed: {text}: save them again, or fetch the file again"
        )
        raise DamagedCheckpointError(msg) from error


@contextmanager
def _content(folder: Folder, name: str) -> Iterator[BinaryIO]:
    """Yield the HDF5 file: the file itself, or the content of a `.keras` archive."""
    with open_stream(folder, name) as whole:
        is_archive = whole.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        whole.seek(0)
        yield _inner(whole) if is_archive else whole


def _inner(whole: BinaryIO) -> BinaryIO:
    """Return the weights in the archive; uncompressed ones are read on demand."""
    with open_archive(whole) as archive:
        entry = archive.getinfo(_INNER)
        if entry.compress_type != zipfile.ZIP_STORED:
            return io.BytesIO(read_entry(archive, _INNER, MAX_WEIGHTS_BYTES))
    # The local header has a name and an extra field of its own; the content follows them.
    whole.seek(entry.header_offset)
    name, extra = struct.unpack_from("<HH", whole.read(_ZIP_HEADER), _ZIP_HEADER - 4)
    first = entry.header_offset + _ZIP_HEADER + name + extra

    def read(start: int, length: int) -> bytes:
        whole.seek(first + start)
        return whole.read(length)

    return buffered(entry.file_size, read)


class _Budget:
    """The remaining number of objects: links may turn a few groups into an endless tree."""

    def __init__(self) -> None:
        self._left = MAX_OBJECTS

    def take(self, count: int, depth: int) -> None:
        """Count visited objects.

        Raises:
            ValueError: there are too many, or they are nested too deeply.
        """
        self._left -= count
        if self._left < 0:
            raise ValueError(f"it has more than {MAX_OBJECTS} groups and variables")
        if depth > _MAX_DEPTH:
            raise ValueError(f"its groups are nested more than {_MAX_DEPTH} levels deep")


def _by_vars(group: Any, budget: _Budget, depth: int = 0) -> Iterator[KerasLayer]:
    """Yield the layers in Keras 3's layout."""
    budget.take(len(group), depth)
    for key in group:
        inner = _child(group, key)
        if not isinstance(inner, h5py.Group):
            continue
        if key != "vars":
            yield from _by_vars(inner, budget, depth + 1)
        elif len(inner):
            budget.take(len(inner), depth)
            places = [_child(inner, str(index)) for index in range(len(inner))]
            variables = tuple((place.name, tuple(place.shape)) for place in places)
            name = str(inner.attrs.get("name", ""))
            yield KerasLayer(inner.parent.parent.name, name, variables)


def _legacy(root: Any, budget: _Budget) -> Iterator[KerasLayer]:
    """Yield the layers in the older layout; a nested model is one layer with all its weights."""
    for layer in _names(root, "layer_names"):
        group = _child(root, layer)
        found: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        weights = _names(group, "weight_names")
        budget.take(1 + len(weights), 0)
        for weight in weights:
            place = _at(group, weight)
            owner = weight.rpartition("/")[0]
            found.setdefault(owner, []).append((place.name, tuple(place.shape)))
        for owner, variables in found.items():
            is_own = len(found) == 1
            name = layer if is_own else owner.rpartition("/")[2]
            yield KerasLayer("" if is_own else layer, name, tuple(variables))


def _root(file: Any) -> Any:
    """Return the group of the weights; a whole model saved as HDF5 has a group for them."""
    return _child(file, "model_weights") if "model_weights" in file else file


def _at(group: Any, place: str) -> Any:
    for key in place.strip("/").split("/"):
        group = _child(group, key)
    return group


def _child(group: Any, key: str) -> Any:
    """Return the object at `key`, if it is in this file."""
    is_here = isinstance(group.get(key, getlink=True), h5py.HardLink)
    if not is_here:
        raise ValueError(f"{group.name}/{key} is missing, or a link to somewhere else")
    child = group[key]
    if isinstance(child, h5py.Dataset) and (child.external or child.is_virtual):
        raise ValueError(f"{child.name} keeps its numbers in another file")
    return child


def _names(group: Any, attribute: str) -> list[str]:
    """Return the names in an attribute, after checking its size."""
    space = group.attrs.get_id(attribute).get_space()
    if space.get_simple_extent_npoints() > MAX_NAMES:
        raise ValueError(f"{attribute} has more than {MAX_NAMES} names")
    return [_text(value) for value in group.attrs[attribute]]


def _numbers(dataset: Any) -> npt.NDArray[Any]:
    """Return a variable's value, after checking its size."""
    stored, size = dataset.id.get_storage_size(), dataset.nbytes
    if size > max(ALWAYS_INFLATED, MAX_RATIO * stored) or size > MAX_WEIGHTS_BYTES:
        raise ValueError(f"{dataset.name} states {size} bytes, of which {stored} are stored")
    numbers: npt.NDArray[Any] = dataset[()]
    return numbers


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
