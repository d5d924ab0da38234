"""KerasHub's own environment: its tensorflow-text brings a TensorFlow that overwrites ours."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[2] / "requirements"


def keras_hub_python() -> Path:
    """Return the Python of the environment that the locks describe, made once a machine.

    Where there is a card, the libraries that the trainer's CUDA image has are in it, too.
    """
    cuda = ["trainer-cuda.lock"] if shutil.which("nvidia-smi") else []
    locks = [REQUIREMENTS / name for name in ("bench-keras-hub.lock", *cuda)]
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    cache = Path(os.environ.get("DETECTION_TRAINING_CACHE", home / "detection-training"))
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    folder = cache / "bench-keras-hub" / digest[:12]
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = Path(sys.executable).parent / "uv"
        sync = [str(uv), "pip", "sync", "-q", "--python", str(python), "--require-hashes"]
        for command in (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
            [*sync, *map(str, locks)],
        ):
            subprocess.run(command, check=True)  # noqa: S603 - fixed commands
        (folder / "complete").touch()
    return python
