"""Decides which copies of datasets stay on this machine: those in use, then the last used.

    <name>.tfrecord            a copy; its access time is when a trainer last began to use it
    <name>.<token>.partial     a copy that is being downloaded
    <token>.use                the names that one trainer uses, while it holds the file's lock

All trainers of a machine may share the folder. Each reserves its copies before it makes them; the
kernel releases the lock of a reservation when the process ends, for any reason. Called by `source`.
"""

import fcntl
import os
import secrets
import shutil
import tempfile
import time
import weakref
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT_SHARE = 0.5
"""Largest share of the disk for all copies, unless the copies in use need more."""
SUFFIX = ".tfrecord"
_PARTIAL = ".partial"
_USE = ".use"


def default_cache_dir() -> Path:
    """Return the default folder of copies; all trainers of a machine share it."""
    return Path(tempfile.gettempdir()) / "detection-trainer"


class Reservation:
    """Protects copies from deletion until it is garbage-collected or the process ends."""

    def __init__(self, folder: Path, names: Collection[str]) -> None:
        """Reserve `names` in `folder`; the caller holds the folder's lock."""
        path = folder / f"{secrets.token_hex(8)}{_USE}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._release = weakref.finalize(self, _release, descriptor, path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, "\n".join(names).encode())


def reserve_copies(folder: Path, names: Collection[str], missing_bytes: int) -> Reservation:
    """Reserve the copies called `names`, present or not, and make room for the missing ones.

    Copies that no trainer reserved are deleted, the least recently used first, until all fit into
    `KEPT_SHARE` of the disk and into its free space.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        reservation = Reservation(folder, names)
        _make_room(folder, _names_in_use(folder), missing_bytes)
        # File systems may be mounted without access times, so set them here.
        for name in names:
            with suppress(OSError):  # It does not exist yet, or belongs to another user.
                changed_ns = (folder / name).stat().st_mtime_ns
                os.utime(folder / name, ns=(time.time_ns(), changed_ns))
    return reservation


def _make_room(folder: Path, used: Collection[str], missing_bytes: int) -> None:
    stems = {name.removesuffix(SUFFIX) for name in used}
    for path in folder.glob(f"*{_PARTIAL}"):
        if path.name.partition(".")[0] not in stems:  # Its process was killed.
            _delete(path)
    copies = {path: path.stat() for path in folder.glob(f"*{SUFFIX}")}
    disk = shutil.disk_usage(folder)
    kept, free = sum(status.st_size for status in copies.values()), disk.free
    for path in sorted(copies, key=lambda path: copies[path].st_atime_ns):
        if kept + missing_bytes <= disk.total * KEPT_SHARE and missing_bytes <= free:
            return
        if path.name not in used and _delete(path):
            kept, free = kept - copies[path].st_size, free + copies[path].st_size


def _names_in_use(folder: Path) -> set[str]:
    """Return the names that trainers reserve; deletes the reservations of ended processes."""
    names: set[str] = set()
    for path in folder.glob(f"*{_USE}"):
        with suppress(FileNotFoundError), path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                names.update(file.read().split("\n"))
            else:
                _delete(path)  # The lock is free, so its process has ended.
    return names


def _release(descriptor: int, path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(descriptor)


def _delete(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False  # It belongs to another user, so it stays.
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other trainers from reserving or deleting within the context."""
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
