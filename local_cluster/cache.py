"""The folder for things that outlive a checkout, and how they are stored completely.

Every entry is named by the hash of its inputs and appears by one rename. So an interrupted build
leaves nothing that looks finished, and two builds at once do not conflict.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local_cluster import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CACHE_VARIABLE = "DETECTION_TRAINING_CACHE"
HASH_LENGTH = 16
IGNORED_NAMES = frozenset({"__pycache__", ".git", ".venv", ".mypy_cache", ".ruff_cache"})


def choose_cache_directory(environment: Mapping[str, str]) -> Path:
    """Return the folder that `environment` names, or the default below the home folder."""
    chosen = environment.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    return Path(environment.get("HOME") or Path.home()) / ".cache" / "detection-training"


def cache_directory() -> Path:
    """Return this process's cache folder; create it if it is missing."""
    directory = choose_cache_directory(os.environ)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def list_files(paths: Iterable[Path]) -> list[Path]:
    """Return the files at and below `paths` in a stable order, without caches and git."""
    found = []
    for path in paths:
        if path.is_file():
            found.append(path)
            continue
        for parent, folders, names in os.walk(path):
            folders[:] = sorted(set(folders) - IGNORED_NAMES)
            found.extend(Path(parent, name) for name in sorted(names))
    return found


def hash_inputs(root: Path, paths: Iterable[Path], *texts: str) -> str:
    """Return a short hash over `texts` and the names, modes and bytes of files below `paths`."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(f"text {len(text.encode())}\0".encode() + text.encode())
    for path in list_files(paths):
        content = path.read_bytes()
        executable = bool(path.stat().st_mode & 0o100)
        name = os.path.relpath(path, root)
        digest.update(f"file {name} {executable} {len(content)}\0".encode() + content)
    return digest.hexdigest()[:HASH_LENGTH]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; a second process waits, and the end of a process frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.step(f"wait for another process that holds {path.name}"):
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def replaced_whole(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `target` that replaces it if the body succeeds.

    If the body leaves a file named as `target` in it, that file replaces it instead.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield building
        product = building / target.name
        try:
            (product if product.exists() else building).replace(target)
        except OSError:
            # Another process was faster; its result has the same inputs.
            if not target.exists():
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
