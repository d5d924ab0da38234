"""KerasHub's own environment: its tensorflow-text brings a TensorFlow that overwrites ours."""

import shutil
from pathlib import Path

from sandbox.processes.environments import locked_python


def keras_hub_python() -> Path:
    """Return the Python of the environment that has KerasHub.

    Where there is a card, the libraries that the trainer's CUDA image has are in it, too.
    """
    cuda = ["trainer-cuda.lock"] if shutil.which("nvidia-smi") else []
    return locked_python("bench-keras-hub", ["bench-keras-hub.lock", *cuda])
