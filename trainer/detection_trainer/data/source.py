"""Makes the files of a dataset available on this machine.

Files on a mounted volume are used in place. Objects are copied into a cache, once for each content
(the ETag is part of the cached name), and their size is checked. `cache` decides which copies stay.
"""

import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from detection_trainer.contract.base import canonical_digest
from detection_trainer.contract.dataset import Place
from detection_trainer.contract.report import DatasetPin
from detection_trainer.data.cache import SUFFIX, Reservation, reserve_copies
from detection_trainer.errors import (
    DatasetChangedError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
)
from detection_trainer.storage import Entry, Folder, open_parent
from detection_trainer.storage.local import explain_os_error

_PARALLEL_DOWNLOADS = 4


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a dataset in its storage."""

    folder: Folder
    entry: Entry

    @property
    def uri(self) -> str:
        """The file's URI."""
        return self.folder.uri_of(self.entry.path)


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file of a dataset on this machine."""

    uri: str
    path: Path
    size: int
    changed_ns: int
    """Time of the last change, from the file system."""
    reservation: Reservation | None = field(default=None, repr=False, compare=False)
    """Keeps a copy in the cache while it is used."""


def find_files(place: Place, credentials: Mapping[str, Path] | None = None) -> list[RemoteFile]:
    """Return the files that `place` names; `*` in the last segment matches any text.

    The files of one URI are sorted; those of `additionalUris` follow, each file once.

    Raises:
        NotFoundError: no file matches one of the URIs.
    """
    uris = [place.uri, *(place.additional_uris or ())]
    files = [file for uri in uris for file in _find(uri, credentials)]
    return list({file.uri: file for file in files}.values())


def _find(uri: str, credentials: Mapping[str, Path] | None) -> list[RemoteFile]:
    folder, pattern = open_parent(uri, credentials)
    beginning = pattern.split("*")[0]
    wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
    entries = folder.list(beginning, recursive=False)
    found = [entry for entry in entries if wanted.fullmatch(entry.path)]
    if not found:
        raise NotFoundError(_nothing_found(uri, folder, pattern))
    return [RemoteFile(folder, entry) for entry in found]


def pin_files(files: Sequence[RemoteFile]) -> DatasetPin:
    """Return a pin that identifies these files, without reading them."""
    identity = [[file.entry.path, file.entry.size, file.entry.etag] for file in files]
    size = sum(file.entry.size for file in files)
    return DatasetPin(digest=canonical_digest(identity), files=len(files), size_bytes=size)


def require_pinned(place: Place, digest: str, credentials: Mapping[str, Path] | None) -> None:
    """Refuse files that differ from those that the preflight pinned.

    Raises:
        DatasetChangedError: a file was added, removed or changed since.
        NotFoundError: there is no file.
    """
    found = pin_files(find_files(place, credentials))
    if found.digest == digest:
        return
    msg = (
        f"dataset.train {place.uri} has changed since the preflight checked it (expected digest "
        f"{digest[:19]}…, received {found.digest[:19]}… of {found.files} files with "
        f"{found.size_bytes} bytes): bring the files back, or have these checked by any change of "
        "the spec, such as suspend and resume"
    )
    raise DatasetChangedError(msg)


def fetch_files(files: list[RemoteFile], cache: Path) -> list[LocalFile]:
    """Return `files` on this machine; those that are not mounted are copied below `cache`.

    Raises:
        StorageUnavailableError: the size of a copy differs from the object's.
        StorageFullError: the cache's disk has no room; raised before the first byte is copied.
    """
    reservation = _reserve(files, cache)
    _require_room([file for file in files if _is_missing(file, cache)], cache)
    with ThreadPoolExecutor(_PARALLEL_DOWNLOADS) as pool:
        return list(pool.map(lambda file: _fetch(file, cache, reservation), files))


def _reserve(files: list[RemoteFile], cache: Path) -> Reservation | None:
    """Reserve the copies of `files`; None if all are mounted, or are in a read-only cache."""
    names = [_place(file, cache).name for file in files if _is_copied(file)]
    missing_bytes = sum(file.entry.size for file in files if _is_missing(file, cache))
    if not names:
        return None
    try:
        return reserve_copies(cache, names, missing_bytes)
    except OSError as error:
        if not missing_bytes:
            return None  # A read-only cache with all files works without a reservation.
        raise explain_os_error(error, cache, "caching the dataset in") from error


def _fetch(file: RemoteFile, cache: Path, reservation: Reservation | None) -> LocalFile:
    target = _place(file, cache)
    if _is_missing(file, cache):
        _download(file, target)
    try:
        changed_ns = target.stat().st_mtime_ns
    except OSError as error:
        raise explain_os_error(error, target, "reading") from error
    return LocalFile(file.uri, target, file.entry.size, changed_ns, reservation)


def _place(file: RemoteFile, cache: Path) -> Path:
    """Return the path at which the file is used: the mounted file, or its copy in the cache."""
    mounted = file.folder.local_path(file.entry.path)
    if mounted is not None:
        return mounted
    identity = f"{file.uri}\n{file.entry.etag}\n{file.entry.modified.isoformat()}"
    return cache / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}{SUFFIX}"


def _is_copied(file: RemoteFile) -> bool:
    return file.folder.local_path(file.entry.path) is None


def _is_missing(file: RemoteFile, cache: Path) -> bool:
    target = _place(file, cache)
    if not _is_copied(file):
        return False
    return not target.exists() or target.stat().st_size != file.entry.size


def _require_room(files: list[RemoteFile], cache: Path) -> None:
    needed = sum(file.entry.size for file in files)
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        msg = (
            f"{len(files)} files of the dataset take {needed / 1e9:.1f} GB, and the cache's disk "
            f"({cache}) has {free / 1e9:.1f} GB free: delete what is not needed there, name a "
            "larger one by --cache-dir, or give the pod's node more ephemeral storage"
        )
        raise StorageFullError(msg)


def _download(file: RemoteFile, target: Path) -> None:
    # A unique name: several trainers of one machine may share the cache.
    partial = target.with_suffix(f".{secrets.token_hex(6)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file.folder.download(file.entry.path, partial)
        size = partial.stat().st_size
        if size != file.entry.size:
            msg = (
                f"{file.uri}: expected {file.entry.size} bytes; received {size}: the object "
                "changed meanwhile, or the transfer was cut off"
            )
            raise StorageUnavailableError(msg)
        # Trainers that copy the same object at once set the same time, so none sees a change.
        os.utime(partial, (time.time(), file.entry.modified.timestamp()))
        partial.replace(target)
    except OSError as error:
        raise explain_os_error(error, target, "caching the dataset in") from error
    finally:
        partial.unlink(missing_ok=True)


def _nothing_found(uri: str, folder: Folder, pattern: str) -> str:
    if "*" not in pattern and folder.list(f"{pattern}/"):
        return f"{uri} is a folder: name its files, for example {uri.rstrip('/')}/*.tfrecord"
    names = [entry.path for entry in folder.list(recursive=False)]
    holds = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")  # noqa: PLR2004
    return (
        f"{uri} matches no file: expected TFRecord files there; {folder.uri} holds "
        f"{holds or 'no files'}: check the address"
    )
