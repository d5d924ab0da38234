"""Sets up TensorFlow for a run and records the environment that its bits depend on."""

import importlib.metadata
import os
import platform

import keras
import tensorflow as tf

from detection_trainer.checkpoints.manifest import Environment
from detection_trainer.contract.spec import TrainingSpec

_LIBRARIES = ("tensorflow", "tensorflow-cpu", "keras", "numpy")


def prepare_tensorflow(spec: TrainingSpec) -> Environment:
    """Seed all randomness, make operations deterministic if configured; returns the environment.

    Fresh weights are a pure function of the seed: after this call the same model has the same bits
    in every process.
    """
    keras.utils.set_random_seed(spec.seed)
    if spec.deterministic:
        tf.config.experimental.enable_op_determinism()
    for gpu in tf.config.list_physical_devices("GPU"):
        # Otherwise the first process on a device, such as an evaluation, takes all of its memory.
        tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003 - TensorFlow's signature
    return read_environment(deterministic=spec.deterministic)


def read_environment(*, deterministic: bool) -> Environment:
    """Return threads, devices and library versions of this process."""
    threading = tf.config.threading
    return Environment(
        intra_op_threads=_threads(
            "TF_NUM_INTRAOP_THREADS", threading.get_intra_op_parallelism_threads()
        ),
        inter_op_threads=_threads(
            "TF_NUM_INTEROP_THREADS", threading.get_inter_op_parallelism_threads()
        ),
        one_dnn=os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        deterministic=deterministic,
        devices=_devices(),
        libraries={"python": platform.python_version(), **_versions()},
    )


def _threads(variable: str, configured: int) -> int:
    """Return how many threads TensorFlow uses; 0 means one for each CPU available to it."""
    text = os.environ.get(variable, "")
    return configured or (int(text) if text.isdigit() else 0) or len(os.sched_getaffinity(0))


def _devices() -> list[str]:
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
    return [str(name) for name in names] or [f"CPU {platform.machine()}"]


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
