"""The OD API's own model, run in its own environment: what ours is compared with.

python reference.py CONFIG FOLDER SIZE SEED

Builds the model of a pipeline.config, gives every variable a random value, saves `ckpt-1` as its
trainer does, and keeps the raw outputs, anchors and targets for two random images in `out.npz`.
"""

import importlib.abc
import importlib.machinery
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import cond, control_flow_case, control_flow_ops, while_loop

UNUSED = frozenset({"official", "tensorflow_io", "lvis"})
"""Packages that the OD API imports, and that these configurations never use."""


class Nothing(types.ModuleType):
    """A module that has whatever is asked of it."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> "Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return Nothing(f"{self.__name__}.{name}")

    def __call__(self, *_words: Any, **_named: Any) -> None:
        return None


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds nothing where UNUSED is asked for."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        del path, target
        if fullname.partition(".")[0] not in UNUSED:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> Nothing:
        return Nothing(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        del module


def prepare() -> None:
    """Put back what tf-slim 1.1 misses in TensorFlow 2.15, and stand in for what is not used."""
    control_flow_ops.case = control_flow_case.case
    control_flow_ops.cond = cond.cond
    control_flow_ops.while_loop = while_loop.while_loop
    sys.meta_path.insert(0, Finder())


def build(config: Path) -> Any:
    """Return the detection model of a pipeline.config."""
    from google.protobuf import text_format  # noqa: PLC0415 - after `prepare`
    from object_detection.builders import model_builder  # noqa: PLC0415
    from object_detection.protos import pipeline_pb2  # noqa: PLC0415

    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    text_format.Parse(config.read_text(), pipeline)
    return model_builder.build(pipeline.model, is_training=True)


def random_value(variable: tf.Variable, random: np.random.Generator) -> Any:
    """Return a value of the variable's shape that keeps activations in range."""
    shape = variable.shape.as_list()
    if variable.name.endswith("moving_variance:0"):
        return random.uniform(0.5, 1.5, shape)
    if variable.name.endswith("gamma:0"):
        return random.uniform(0.8, 1.2, shape)
    if len(shape) < 2:
        return random.normal(0.0, 0.1, shape)
    inputs = shape[0] * shape[1] * (1 if "depthwise" in variable.name else shape[2])
    return random.normal(0.0, (1.5 / inputs) ** 0.5, shape)


def main(config: str, folder: str, size: str, seed: str) -> None:
    prepare()
    model, random = build(Path(config)), np.random.default_rng(int(seed))
    images = random.uniform(0, 255, (2, int(size), int(size), 3)).astype("float32")
    model.predict(*model.preprocess(tf.constant(images)))  # Makes the variables.
    variables = model._feature_extractor.variables + model._box_predictor.variables
    for variable in variables:
        variable.assign(random_value(variable, random).astype("float32"))
    tf.train.Checkpoint(model=model).save(f"{folder}/ckpt")
    raw = model.predict(*model.preprocess(tf.constant(images)))
    np.savez(
        f"{folder}/out.npz",
        images=images,
        box_encodings=raw["box_encodings"],
        class_logits=raw["class_predictions_with_background"],
        anchors=model.anchors.get(),
        variables=len(variables),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
