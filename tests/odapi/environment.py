"""The TensorFlow Object Detection API in an environment of its own: TensorFlow 2.15, Keras 2."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = (REQUIREMENTS / "odapi.lock", REQUIREMENTS / "odapi-package.lock")


def odapi_python() -> Path:
    """Return the Python of the environment that the locks describe, made once a machine."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = Path(os.environ.get("DETECTION_TRAINING_CACHE", home / "detection-training"))
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS)).hexdigest()
    folder = cache / "odapi" / digest[:12]
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = [str(Path(sys.executable).parent / "uv"), "pip"]
        to = ["-q", "--python", str(python), "--require-hashes"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
            [*uv, "sync", *to, str(LOCKS[0])],
            # What it asks for cannot be had together; what it needs is there.
            [*uv, "install", *to, "--no-deps", "--no-build-isolation", "-r", str(LOCKS[1])],
        ):
            subprocess.run(command, check=True)
        (folder / "complete").touch()
    return python
