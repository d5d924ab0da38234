"""Reads the files of a TF2 checkpoint without TensorFlow: names and shapes from the index alone.

`<prefix>.index` is a LevelDB table: blocks of sorted keys, and at the end a footer with the place
of the block of blocks. Each value is a `BundleEntryProto` (tensor_bundle.proto): dtype = 1,
shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6 (fixed32). The tensors' bytes are in
`<prefix>.data-0000i-of-0000n`. Sources: tensorflow/core/util/tensor_bundle and
leveldb/doc/table_format.md.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from detection_trainer.data.checksum import masked_crc32c
from detection_trainer.data.wire import WireError, fields, varint
from detection_trainer.errors import DamagedCheckpointError, TooLargeError
from detection_trainer.storage import Folder

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_UNCOMPRESSED = 0
MAX_INDEX_BYTES = 1 << 24
"""The index of a ResNet152 detector with its optimizer has 400 KB."""
MAX_NAME = 4096
"""Bytes. An entry may repeat the previous name, so that a small table could grow without end."""
MAX_TENSOR_BYTES = 1 << 31
MAX_RANK = 32
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "?", 19: "<f2"}
"""`DataType` of types.proto, for the types of models' variables."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Place and type of a tensor."""

    dtype: str | None
    """numpy's dtype; None for non-numbers (a string, the object graph)."""
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """The tensors of a checkpoint by name."""

    folder: Folder
    prefix: str
    shards: int
    tensors: dict[str, Tensor]

    @property
    def uri(self) -> str:
        """URI of the checkpoint, without a file's suffix."""
        return self.folder.uri_of(self.prefix)

    def read(self, name: str) -> npt.NDArray[Any]:
        """Return a tensor.

        Raises:
            DamagedCheckpointError: its bytes differ from those that were written.
        """
        tensor = self.tensors[name]
        self._require_numbers(name, tensor)
        file = f"{self.prefix}.data-{tensor.shard:05d}-of-{self.shards:05d}"
        content = self.folder.read_range(file, tensor.offset, tensor.size)
        if len(content) != tensor.size or masked_crc32c(content) != tensor.crc:
            raise DamagedCheckpointError(
                f"{self.folder.uri_of(file)}: the bytes of {name!r} are not those that were "
                "written (their CRC32C differs): copy the checkpoint again, or take another"
            )
        return np.frombuffer(content, tensor.dtype).reshape(tensor.shape)

    def _require_numbers(self, name: str, tensor: Tensor) -> None:
        """Compare the tensor's size with its shape before it is read."""
        whole = 0 if tensor.dtype is None else np.dtype(tensor.dtype).itemsize * prod(tensor.shape)
        if tensor.dtype is None or whole != tensor.size or whole > MAX_TENSOR_BYTES:
            raise DamagedCheckpointError(
                f"{self.uri}.index: expected numbers of shape {list(tensor.shape)} for {name!r} in "
                f"at most {MAX_TENSOR_BYTES} bytes; received {tensor.size} bytes of "
                f"{tensor.dtype or 'another type'}: use another checkpoint"
            )


def open_bundle(folder: Folder, prefix: str) -> Bundle:
    """Return the checkpoint `prefix` in `folder`; reads its index but no tensor.

    Raises:
        NotFoundError: it does not exist.
        DamagedCheckpointError: the index is invalid.
    """
    try:
        content = folder.read_small(f"{prefix}.index", MAX_INDEX_BYTES)
    except TooLargeError as error:
        raise DamagedCheckpointError(f"index of a TensorFlow checkpoint {error}") from error
    try:
        entries = dict(_table(content))
        shards = _header_shards(entries.pop(b""))
        tensors = {key.decode(): _tensor(value) for key, value in entries.items()}
    except (WireError, LookupError, struct.error, UnicodeDecodeError) as error:
        raise DamagedCheckpointError(
            f"{folder.uri_of(prefix)}.index: expected the index of a TensorFlow checkpoint; "
            f"received invalid bytes ({error}): copy it again, or use another checkpoint"
        ) from error
    return Bundle(folder, prefix, shards, tensors)


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a whole table."""
    footer = content[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise WireError("the footer lacks the table's magic number")
    _, start = _handle(footer, 0)
    index, _ = _handle(footer, start)
    left = len(content)
    for _, value in _block(content, index):
        span, _ = _handle(value, 0)
        left -= span[1] + _TRAILER_BYTES
        if left < 0:
            raise WireError("its blocks overlap")
        yield from _block(content, span)


def _handle(data: bytes, start: int) -> tuple[Span, int]:
    offset, start = varint(data, start, len(data))
    size, start = varint(data, start, len(data))
    return (offset, size), start


def _block(content: bytes, span: Span) -> Iterator[tuple[bytes, bytes]]:
    """Yield a block's entries; each key states how many bytes it shares with the previous one."""
    offset, size = span
    end = offset + size
    trailer = content[end : end + _TRAILER_BYTES]
    if len(trailer) < _TRAILER_BYTES or trailer[0] != _UNCOMPRESSED:
        raise WireError("a block is cut off, or compressed")
    if masked_crc32c(content[offset : end + 1]) != struct.unpack("<I", trailer[1:])[0]:
        raise WireError("a block's CRC32C differs")
    restarts = struct.unpack_from("<I", content, end - 4)[0]
    position, stop, key = offset, end - 4 * (restarts + 1), b""
    while position < stop:
        shared, position = varint(content, position, stop)
        unshared, position = varint(content, position, stop)
        length, position = varint(content, position, stop)
        if shared + unshared > MAX_NAME:
            raise WireError(f"a name has more than {MAX_NAME} bytes")
        key = key[:shared] + content[position : position + unshared]
        position += unshared
        yield key, content[position : position + length]
        position += length


def _header_shards(value: bytes) -> int:
    """Return num_shards of a `BundleHeaderProto`: num_shards = 1, endianness = 2 (0 is little)."""
    numbers = {number: varint(value, first, last)[0] for number, wire, first, last
               in fields(value, 0, len(value)) if wire == 0}  # fmt: skip
    if numbers.get(2, 0):
        raise WireError("the tensors are big-endian")
    return numbers.get(1, 1)


def _tensor(value: bytes) -> Tensor:
    numbers = {1: 0, 3: 0, 4: 0, 5: 0}
    shape: tuple[int, ...] = ()
    crc = 0
    for number, wire, first, last in fields(value, 0, len(value)):
        if wire == 0:
            numbers[number] = varint(value, first, last)[0]
        elif number == 2:  # noqa: PLR2004 - the shape
            shape = tuple(_shape(value[first:last]))
            if len(shape) > MAX_RANK:
                raise WireError(f"a tensor has {len(shape)} dimensions")
        elif number == 6:  # noqa: PLR2004 - the CRC
            crc = struct.unpack("<I", value[first:last])[0]
    return Tensor(_DTYPES.get(numbers[1]), shape, numbers[3], numbers[4], numbers[5], crc)


def _shape(value: bytes) -> Iterator[int]:
    """Yield the sizes of a `TensorShapeProto`: dim = 2, whose size = 1."""
    for number, _, first, last in fields(value, 0, len(value)):
        if number == 2:  # noqa: PLR2004 - a dimension
            sizes = [varint(value, a, b)[0] for n, _, a, b in fields(value, first, last) if n == 1]
            size = sizes[0] if sizes else 0
            if size > MAX_TENSOR_BYTES:
                raise WireError(f"a tensor has a side of {size}")
            yield size
