"""Separate Python environments, for programs whose packages would overwrite the project's."""

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from local_cluster.cache import cache_directory

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def locked_python(name: str, locks: Sequence[str], alone: Sequence[str] = ()) -> Path:
    """Return the Python of an environment with the packages of `locks`, made once per machine.

    Args:
        name: its folder in the cache.
        locks: files of `requirements/`, installed together.
        alone: files of packages that are built there, and installed without what they ask for.
    """
    files = [REQUIREMENTS / lock for lock in (*locks, *alone)]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    folder = cache_directory() / name / digest[:12]
    python = folder / "bin" / "python"
    if (folder / "complete").exists():
        return python
    uv = [str(Path(sys.executable).parent / "uv"), "pip"]
    to = ["-q", "--python", str(python), "--require-hashes"]
    bare = ["--no-deps", "--no-build-isolation"]
    together, apart = files[: len(locks)], files[len(locks) :]
    for command in (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
        [*uv, "sync", *to, *map(str, together)],
        *([*uv, "install", *to, *bare, "-r", str(file)] for file in apart),
    ):
        subprocess.run(command, check=True)  # noqa: S603 - fixed commands
    (folder / "complete").touch()
    return python
