"""Writes a checkpoint in the form of the OD API, which can restore it in every mode.

    ckpt-1.index, ckpt-1.data-…   model and step, and the optimizer if it is momentum
    checkpoint                    names ckpt-1 as the newest, as in a model_dir
    pipeline.config, label_map.pbtxt

A restore finds objects by the edges between them, so only the tree of names matters (names.py). The
backbone is also an attribute `feature_extractor` of the root, which mode `classification` reads;
TensorFlow names its variables by that shorter path.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from detection_trainer.checkpoints.format import Arrays, Checkpoint
from detection_trainer.checkpoints.manifest import OPTIMIZER_FILE, Manifest
from detection_trainer.contract.odapi import reason_without_twin
from detection_trainer.data.label_map import format_label_map
from detection_trainer.errors import InvalidConfigError
from detection_trainer.exports.odapi_config import format_pipeline_config
from detection_trainer.weights.odapi.names import CLASSIFICATION_BACKBONE, object_paths

CONFIG_FILE = "pipeline.config"
LABEL_MAP_FILE = "label_map.pbtxt"
SLOT = "momentum"


def write_odapi_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write `checkpoint` to the folder `path`.

    Raises:
        InvalidConfigError: the OD API has no such model.
        DamagedCheckpointError: the checkpoint's bytes differ from its manifest.
    """
    manifest = checkpoint.manifest
    reason = reason_without_twin(manifest.model)
    if reason is not None:
        raise InvalidConfigError(reason)
    names = object_paths(manifest.model, len(manifest.classes))
    variables = {names[p]: tf.Variable(w) for p, w in checkpoint.read_weights().items()}
    model = _tree(variables)
    backbone = _at(model, CLASSIFICATION_BACKBONE)
    root = {"model": model, "feature_extractor": backbone}
    root["step"] = tf.Variable(checkpoint.step, dtype=tf.int64)
    if _can_continue(manifest):
        slots = _slots(checkpoint.read_file(OPTIMIZER_FILE), names)
        root["optimizer"] = _Optimizer(checkpoint.step, variables, slots)
    # `write` would omit the save counter, from which the OD API's next save continues.
    tf.train.CheckpointManager(tf.train.Checkpoint(**root), str(path), max_to_keep=None).save()
    (path / CONFIG_FILE).write_text(format_pipeline_config(manifest))
    (path / LABEL_MAP_FILE).write_text(format_label_map(manifest.classes))


def _can_continue(manifest: Manifest) -> bool:
    """Return whether a run can continue from it: with momentum, and without moving averages."""
    return manifest.optimizer == SLOT and not manifest.averaged


def _slots(arrays: Arrays, names: Mapping[str, str]) -> dict[str, tf.Variable]:
    """Return object path of a variable -> its momentum."""
    prefix = f"optimizer/{SLOT}/"
    return {
        names[path.removeprefix(prefix)]: tf.Variable(value)
        for path, value in arrays.items()
        if path.startswith(prefix)
    }


def _tree(leaves: Mapping[str, Any]) -> tf.train.Checkpoint:
    """Return nested objects with one attribute for each segment of the paths of `leaves`."""
    below: dict[str, dict[str, Any]] = {}
    for path, leaf in leaves.items():
        name, _, rest = path.partition("/")
        below.setdefault(name, {})[rest] = leaf
    children = {
        name: inside[""] if "" in inside else _tree(inside) for name, inside in below.items()
    }
    return tf.train.Checkpoint(**children)


def _at(tree: Any, path: str) -> Any:
    for name in path.split("/"):
        tree = getattr(tree, name)
    return tree


class _Optimizer(tf.train.Checkpoint):  # type: ignore[misc] # TensorFlow ships no types
    """The saved form of Keras' SGD in TensorFlow 2: TensorFlow calls its methods for the slots."""

    def __init__(
        self, step: int, variables: Mapping[str, tf.Variable], slots: Mapping[str, tf.Variable]
    ) -> None:
        super().__init__(iter=tf.Variable(step, dtype=tf.int64))
        by_variable = {variables[path].ref(): slot for path, slot in slots.items()}
        # TensorFlow would save an attribute that is set in the usual way.
        object.__setattr__(self, "_by_variable", by_variable)

    def get_slot_names(self) -> Iterable[str]:
        """Return the names of the slots."""
        return (SLOT,)

    def get_slot(self, variable: Any, name: str) -> Any:
        """Return the slot `name` of `variable`, or None."""
        del name
        known = isinstance(variable, tf.Variable)
        return self._by_variable.get(variable.ref()) if known else None
