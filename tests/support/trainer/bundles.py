"""Writes checkpoints as TensorFlow 2 does: what the OD API leaves in a model_dir."""

from pathlib import Path
from typing import Any

import tensorflow as tf

VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
SLOT = "/.OPTIMIZER_SLOT/optimizer/momentum"


def write_bundle(prefix: Path, tensors: dict[str, Any]) -> None:
    """Write the files of the checkpoint `prefix`, without the `checkpoint` that names it."""
    prefix.parent.mkdir(exist_ok=True)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
