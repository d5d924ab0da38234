"""A folder in some storage, and the interface of a storage."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from detection_trainer.errors import NotFoundError, TooLargeError

PIECE_BYTES = 16 * 1024 * 1024
"""Size of the parts of a big file; several are transferred at once."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The content of a file in several buffers, which are never copied into one."""

    buffers: Sequence[memoryview]
    """Buffers of bytes."""

    @property
    def size(self) -> int:
        """The number of bytes in all buffers."""
        return sum(len(buffer) for buffer in self.buffers)

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the content in order, at most `PIECE_BYTES` at a time."""
        for buffer in self.buffers:
            for start in range(0, len(buffer), PIECE_BYTES):
                yield buffer[start : start + PIECE_BYTES]


Source = bytes | BinaryIO | Path | Pieces
"""What can be written: bytes, a file opened for reading, a local file, or pieces."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file in a folder."""

    path: str
    """Relative to the listed folder."""
    size: int
    """Bytes."""
    etag: str
    """Changes with the content; empty if the storage has none."""
    modified: datetime


class Store(Protocol):
    """A storage of files by key; keys have `/` between segments and none at the ends."""

    def read(self, key: str) -> bytes:
        """Return the whole file."""

    def read_small(self, key: str, limit: int) -> bytes:
        """Return the whole file, of at most `limit` bytes (TooLargeError)."""

    def read_large(self, key: str) -> bytes:
        """Return the whole file, by several parallel requests if that is faster."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return at most `length` bytes from byte `start`."""

    def write(self, key: str, data: Source, *, create: bool) -> None:
        """Write the whole file at once; with `create`, FileExistsError if it already exists."""

    def list(self, directory: str, name: str, *, recursive: bool) -> Iterator[Entry]:
        """Yield the files whose key below `directory` begins with `name`; paths are keys."""

    def head(self, key: str) -> Entry | None:
        """Return the entry of one file, or None if there is none."""

    def delete(self, key: str) -> None:
        """Delete one file; NotFoundError if the storage reports that there is none."""

    def download(self, key: str, target: Path) -> None:
        """Copy the file to the local `target`, replacing it."""

    def local_path(self, key: str) -> Path | None:
        """Return the file's path on this machine, or None for object storage."""


def require_small(place: str, size: int, limit: int) -> None:
    """Compare the size of the file at `place` with its reader's limit.

    Raises:
        TooLargeError: it is larger.
    """
    if size > limit:
        raise TooLargeError(
            f"{place}: expected a file of at most {limit} bytes; received {size}: check that this "
            "is the right file"
        )


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; it need not exist before the first write."""

    store: Store
    uri: str
    """URI without a slash at the end."""
    key: str = ""
    """The folder's own key in the store; empty for its root."""

    def child(self, path: str) -> "Folder":
        """Return the folder `path` inside this one."""
        return replace(self, uri=self.uri_of(path), key=self._key(path))

    def uri_of(self, path: str) -> str:
        """Return the URI of `path` in this folder."""
        clean = path.strip("/")
        if self.uri.startswith("file://"):
            clean = clean.replace("%", "%25")
        return f"{self.uri}/{clean}" if clean else self.uri

    def read(self, path: str) -> bytes:
        """Return the whole file at `path`.

        Raises:
            NotFoundError: it does not exist.
            AccessDeniedError: the storage refuses access.
            StorageUnavailableError: the storage did not answer, even after retries.
        """
        return self.store.read(self._key(path))

    def read_small(self, path: str, limit: int) -> bytes:
        """Return the whole file at `path`, which may come from an untrusted writer.

        Raises:
            TooLargeError: it has more than `limit` bytes; they are not read.
            TrainerError: as `read`.
        """
        return self.store.read_small(self._key(path), limit)

    def read_large(self, path: str) -> bytes:
        """Return the whole file at `path`, which is probably big; raises as `read` does."""
        return self.store.read_large(self._key(path))

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return `length` bytes of the file at `path` from byte `start`, or fewer at its end."""
        return self.store.read_range(self._key(path), start, length)

    def write(self, path: str, data: Source, *, create: bool = False) -> None:
        """Write the file at `path`; readers see the old or the new content, never a part.

        Raises:
            FileExistsError: with `create`, the file already exists.
            AccessDeniedError: the location is read-only, or the credentials do not allow writing.
            StorageFullError: no space is left.
            StorageUnavailableError: the storage did not answer, even after retries.
        """
        self.store.write(self._key(path), data, create=create)

    def list(self, prefix: str = "", *, recursive: bool = True) -> list[Entry]:
        """Return the files whose path begins with `prefix`, sorted; none without a folder."""
        directory, _, name = prefix.rpartition("/")
        below = self._key(directory)
        own = f"{self.key}/" if self.key else ""
        found = self.store.list(below, name, recursive=recursive)
        entries = (replace(entry, path=entry.path.removeprefix(own)) for entry in found)
        return sorted(entries, key=lambda entry: entry.path)

    def head(self, path: str) -> Entry:
        """Return the entry of the file at `path`.

        Raises:
            NotFoundError: it does not exist.
        """
        entry = self.store.head(self._key(path))
        if entry is None:
            raise NotFoundError(f"{self.uri_of(path)} does not exist: check the address")
        return replace(entry, path=path)

    def exists(self, path: str) -> bool:
        """Return whether the file at `path` exists."""
        return self.store.head(self._key(path)) is not None

    def delete(self, path: str) -> None:
        """Delete the file at `path`; NotFoundError if the storage reports that there is none."""
        self.store.delete(self._key(path))

    def download(self, path: str, target: Path) -> None:
        """Copy the file at `path` to `target` on this machine."""
        self.store.download(self._key(path), target)

    def local_path(self, path: str) -> Path | None:
        """Return the path of `path` on this machine, or None for object storage."""
        return self.store.local_path(self._key(path))

    def _key(self, path: str) -> str:
        return "/".join(part for part in (self.key, path.strip("/")) if part)
