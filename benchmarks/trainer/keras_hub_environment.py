"""KerasHub's own environment: its tensorflow-text brings a TensorFlow that overwrites ours."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).parents[2] / "requirements" / "bench-keras-hub.lock"


def keras_hub_python() -> Path:
    """Return the Python of the environment that the lock describes, made once a machine."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = Path(os.environ.get("DETECTION_TRAINING_CACHE", home / "detection-training"))
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    folder = cache / "bench-keras-hub" / digest[:12]
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = Path(sys.executable).parent / "uv"
        for command in (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
            [str(uv), "pip", "sync", "-q", "--python", str(python), "--require-hashes", str(LOCK)],
        ):
            subprocess.run(command, check=True)  # noqa: S603 - fixed commands
        (folder / "complete").touch()
    return python
