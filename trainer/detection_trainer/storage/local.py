"""Files on a mounted file system, written atomically even if the process is killed.

A file is written under a hidden name, flushed to the disk and then renamed. Files that a killed
process left under such a name are never listed, and are deleted with the file of that name.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from detection_trainer.errors import (
    AccessDeniedError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
    TrainerError,
)
from detection_trainer.storage.folder import Entry, Pieces, Source, require_small

_PARTIAL = ".partial"
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK}


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """The files below `root`."""

    root: Path

    def read(self, key: str) -> bytes:
        """Return the whole file."""
        with _explained(self.root / key, "reading"):
            return (self.root / key).read_bytes()

    def read_small(self, key: str, limit: int) -> bytes:
        """Return the whole file, of at most `limit` bytes."""
        path = self.root / key
        with _explained(path, "reading"), open(path, "rb", opener=_open_at_once) as file:
            require_small(path.as_uri(), os.fstat(file.fileno()).st_size, limit)
            data = file.read(limit + 1)
        require_small(path.as_uri(), len(data), limit)  # For devices, which report no size.
        return data

    def read_large(self, key: str) -> bytes:
        """Return the whole file."""
        return self.read(key)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return at most `length` bytes from byte `start`."""
        with _explained(self.root / key, "reading"), (self.root / key).open("rb") as file:
            # Python allocates `length` bytes at once, and a damaged file may request any number.
            left = os.fstat(file.fileno()).st_size - start
            if left <= 0:
                return b""
            file.seek(start)
            return file.read(min(length, left))

    def write(self, key: str, data: Source, *, create: bool) -> None:
        """Write the whole file at once, with its folders; `create` refuses an existing file."""
        target = self.root / key
        with _explained(target, "writing"):
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}{_PARTIAL}")
            try:
                with partial.open("xb") as file:
                    _copy_into(file, data)
                    file.flush()
                    os.fsync(file.fileno())
                if create:
                    _publish_new(partial, target)
                else:
                    partial.replace(target)
                _flush_directory(target.parent)
            finally:
                partial.unlink(missing_ok=True)

    def list(self, directory: str, name: str, *, recursive: bool) -> Iterator[Entry]:
        """Yield the files whose key below `directory` begins with `name`."""
        place = self.root / directory
        with _explained(place, "listing"):
            yield from _walk(place, f"{directory}/" if directory else "", name, recursive=recursive)

    def head(self, key: str) -> Entry | None:
        """Return the entry of one file, or None if there is none."""
        path = self.root / key
        with _explained(path, "looking up"):
            try:
                return _entry(key, path.stat()) if path.is_file() else None
            except (FileNotFoundError, NotADirectoryError):
                return None

    def delete(self, key: str) -> None:
        """Delete one file, its unfinished writes, and the folders that become empty."""
        path = self.root / key
        with _explained(path, "deleting"):
            for partial in path.parent.glob(f".{_escaped(path.name)}.*{_PARTIAL}"):
                partial.unlink(missing_ok=True)
            path.unlink()
            _flush_directory(path.parent)
        for folder in path.parents:
            if folder == self.root:
                return
            try:
                folder.rmdir()
            except OSError:
                return  # Not empty, or in use: keep it.

    def download(self, key: str, target: Path) -> None:
        """Copy the file to `target`."""
        with _explained(self.root / key, "copying"):
            shutil.copyfile(self.root / key, target)

    def local_path(self, key: str) -> Path | None:
        """Return the path of the file."""
        return self.root / key


def explain_os_error(error: OSError, path: Path, doing: str) -> TrainerError:
    """Return the trainer's error for an error of the operating system at `path`."""
    what = f"{doing} {path} failed: {error.strerror or error}"
    if error.errno in _ABSENT:
        return NotFoundError(f"{what}: check the address, and that the volume is mounted there")
    if error.errno in _REFUSED:
        return AccessDeniedError(
            f"{what}: this process runs as user {os.geteuid()}, group {os.getegid()}: give it "
            "access (fsGroup, or the owner of the folder), and mount the volume writable"
        )
    if error.errno in _FULL:
        return StorageFullError(
            f"{what}: make the volume larger, keep fewer checkpoints "
            "(checkpoints.keepLast, keepBest, keepEverySteps), or delete what is not needed"
        )
    return StorageUnavailableError(f"{what}: the volume did not serve it; the attempt is repeated")


@contextmanager
def _explained(path: Path, doing: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        if doing == "writing" and path.parent.is_dir():
            raise  # The caller requested it by `create`.
        msg = f"{doing} {path} failed: a file exists where a folder was expected: move it away"
        raise NotFoundError(msg) from None
    except UnicodeEncodeError as error:
        msg = f"{doing} {str(path)!r} failed: no file can have this name: {error.reason}"
        raise NotFoundError(msg) from error
    except OSError as error:
        raise explain_os_error(error, path, doing) from error


def _open_at_once(path: str, flags: int) -> int:
    """Open a file without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _copy_into(file: BinaryIO, data: Source) -> None:
    match data:
        case Path():
            with data.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        case Pieces():
            file.writelines(data)
        case bytes() | bytearray() | memoryview():
            file.write(data)
        case _:
            shutil.copyfileobj(data, file, 1 << 20)


def _publish_new(partial: Path, target: Path) -> None:
    try:
        os.link(partial, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some network file systems lack hard links. The exclusive open is as strict, but a
        # process that is killed in the middle leaves a part of the file.
        with target.open("xb") as file:
            file.write(partial.read_bytes())
            file.flush()
            os.fsync(file.fileno())


def _flush_directory(directory: Path) -> None:
    """Make a rename survive a power failure; ignored by file systems that cannot flush folders."""
    with suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _walk(place: Path, key: str, name: str, *, recursive: bool) -> Iterator[Entry]:
    try:
        found = sorted(os.scandir(place), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return  # Nothing was written to this folder yet, or it was deleted meanwhile.
    for item in found:
        if not item.name.startswith(name) or _is_partial(item.name):
            continue
        if item.is_dir():
            if recursive:
                yield from _walk(place / item.name, f"{key}{item.name}/", "", recursive=True)
            continue
        if not item.is_file():
            continue  # A pipe, which would block, or a dangling link.
        with suppress(FileNotFoundError):
            yield _entry(key + item.name, item.stat())


def _entry(key: str, status: os.stat_result) -> Entry:
    return Entry(
        path=key,
        size=status.st_size,
        etag=f"{status.st_mtime_ns:x}-{status.st_size:x}",
        modified=datetime.fromtimestamp(status.st_mtime, tz=UTC),
    )


def _is_partial(name: str) -> bool:
    return name.startswith(".") and name.endswith(_PARTIAL)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
