"""A file in a folder as a stream; of an object only the parts that are read are fetched.

Used by readers whose libraries need a file.
"""

import io
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

from detection_trainer.storage.folder import Folder

_BLOCK = 1 << 16


def open_stream(folder: Folder, name: str) -> BinaryIO:
    """Open the file `name` for reading.

    Raises:
        NotFoundError: it does not exist.
    """
    local = folder.local_path(name)
    if local is not None:
        return local.open("rb")
    return buffered(folder.head(name).size, partial(folder.read_range, name))


def buffered(size: int, read: Callable[[int, int], bytes]) -> BinaryIO:
    """Return `size` bytes as a stream that fetches blocks by `read(start, length)`."""
    return io.BufferedReader(_Piece(size, read), _BLOCK)


class _Piece(io.RawIOBase):
    """A stream over bytes that are fetched on demand."""

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        """Create a stream of `size` bytes, fetched by `read(start, length)`."""
        super().__init__()
        self._size, self._read, self._place = size, read, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = base + offset
        return self._place

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with the next bytes and return how many were read."""
        length = min(len(buffer), max(self._size - self._place, 0))
        data = self._read(self._place, length) if length else b""
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
