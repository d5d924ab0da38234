"""KerasHub's environment: its tensorflow-text brings a TensorFlow that overwrites the project's."""

import shutil
from pathlib import Path

from sandbox.processes.environments import locked_python


def keras_hub_python() -> Path:
    """Return the Python of the environment that has KerasHub.

    If the machine has a card, the environment also has the libraries of the trainer's CUDA image.
    """
    cuda = ["trainer-cuda.lock"] if shutil.which("nvidia-smi") else []
    return locked_python("bench-keras-hub", ["bench-keras-hub.lock", *cuda])
