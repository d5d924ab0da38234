"""The OD API itself, run in its own environment: what ours is compared with.

python reference.py outputs CONFIG FOLDER SIZE SEED
    builds the model, gives every variable a random value, saves `ckpt-1` as its trainer does, and
    keeps in `out.npz` what comes out of each part of it
python reference.py classifier CONFIG PREFIX
    saves a backbone alone as PREFIX-1, as the model zoo's classification checkpoints are
python reference.py train CONFIG MODEL_DIR STEPS [EVERY]
    its training loop, from the newest checkpoint in MODEL_DIR; the scalars of each step are in
    `scalars.npz` there
python reference.py branch FOLDER STEPS MORE
    continues FOLDER/start by start.config to STEPS, and from there by every other configuration
    to MORE, each in a copy of that model_dir
python reference.py evaluate CONFIG OUT MODEL_DIR...
    its metrics of the newest checkpoint in each MODEL_DIR, as JSON
python reference.py restore CONFIG CHECKPOINT FOLDER
    what its loader does in each mode: in `outcomes.json` its error, if any, and how many variables
    of each part it wrote; in the checkpoint `MODE` all values afterwards
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import json
import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.ops import cond, control_flow_case, control_flow_ops, while_loop

UNUSED = frozenset({"official", "tensorflow_io", "lvis"})
"""Packages that the OD API imports, and that these configurations never use."""
AVERAGES = "official.modeling.optimization.ema_optimizer"
"""But for this module, which is its `use_moving_average` and imports TensorFlow alone."""


class Nothing(types.ModuleType):
    """A module that has any attribute."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name[0].isupper():
            return type(name, (), {})
        return Nothing(f"{self.__name__}.{name}")

    def __call__(self, *_words: Any, **_named: Any) -> None:
        return None


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds empty modules for the UNUSED ones."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        del path, target
        if fullname.partition(".")[0] not in UNUSED:
            return None
        if fullname == AVERAGES:
            place = Path(tf.__file__).parents[1].joinpath(*AVERAGES.split("."))
            return importlib.util.spec_from_file_location(fullname, place.with_suffix(".py"))
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
    # Before its package is imported, which has any attribute.
    importlib.import_module(AVERAGES)


def read_config(config: str) -> Any:
    """Return the message in a pipeline.config."""
    from google.protobuf import text_format  # noqa: PLC0415 - after `prepare`
    from object_detection.protos import pipeline_pb2  # noqa: PLC0415

    pipeline = pipeline_pb2.TrainEvalPipelineConfig()
    text_format.Parse(Path(config).read_text(), pipeline)
    return pipeline


def build(config: str) -> Any:
    """Return the detection model of a pipeline.config, its variables made."""
    from object_detection.builders import model_builder  # noqa: PLC0415 - after `prepare`

    message = read_config(config).model
    model = model_builder.build(message, is_training=True)
    resizer = message.ssd.image_resizer
    size = resizer.fixed_shape_resizer.height or resizer.keep_aspect_ratio_resizer.max_dimension
    model.predict(*model.preprocess(tf.zeros((2, size, size, 3))))
    return model


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


def shake(variables: list[tf.Variable], random: np.random.Generator) -> None:
    """Give every variable a random value."""
    for variable in variables:
        variable.assign(random_value(variable, random).astype("float32"))


def outputs(config: str, folder: str, size: str, seed: str) -> None:
    model, random, side = build(config), np.random.default_rng(int(seed)), int(size)
    variables = model._feature_extractor.variables + model._box_predictor.variables
    shake(variables, random)
    tf.train.Checkpoint(model=model).save(f"{folder}/ckpt")
    images = random.uniform(0, 255, (2, side, side, 3)).astype("float32")
    raw = model.predict(*model.preprocess(tf.constant(images)))
    photo = random.integers(0, 256, (1, side - 29, side + 51, 3), np.uint8)
    resized, shape = model.preprocess(tf.cast(photo, tf.float32))
    found = {
        "images": images,
        "box_encodings": raw["box_encodings"],
        "class_logits": raw["class_predictions_with_background"],
        "anchors": model.anchors.get(),
        "variables": len(variables),
        "photo": photo,
        "resized": resized,
        "resized_shape": shape,
        **losses(model, raw, random),
        **detections(model, raw, side),
    }
    np.savez(f"{folder}/out.npz", **found)


def losses(model: Any, raw: Any, random: np.random.Generator) -> dict[str, Any]:
    """Return random objects, and the targets and losses that they give."""
    corner = random.uniform(0.0, 0.6, (2, 7, 2))
    extent = random.uniform(0.05, 0.4, (2, 7, 2))
    boxes = np.concatenate([corner, corner + extent], -1).astype("float32")
    classes = random.integers(0, model.num_classes, (2, 7))
    one_hot = tf.one_hot(classes, model.num_classes)
    model.provide_groundtruth(
        groundtruth_boxes_list=tf.unstack(tf.constant(boxes)),
        groundtruth_classes_list=tf.unstack(one_hot),
        groundtruth_weights_list=tf.unstack(tf.ones((2, 7))),
    )
    assigned = model._assign_targets(
        model.groundtruth_lists("boxes"),
        model.groundtruth_lists("classes"),
        None,
        model.groundtruth_lists("weights"),
    )
    found = model.loss(raw, None)
    return {
        "boxes": boxes,
        "classes": classes + 1,
        "class_targets": assigned[0],
        "class_weights": assigned[1][..., 0],
        "box_targets": assigned[2],
        "box_weights": assigned[3],
        "localization": found["Loss/localization_loss"],
        "classification": found["Loss/classification_loss"],
        "regularization": tf.add_n(model.regularization_losses()),
    }


def detections(model: Any, raw: Any, side: int) -> dict[str, Any]:
    """Return what is found in two images that fill a part of the square."""
    shapes = tf.constant([[side, side * 3 // 4, 3], [side // 2, side, 3]])
    found = model.postprocess(raw, shapes)
    names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
    return {"true_shapes": shapes, **{name: found[name] for name in names}}


@functools.cache
def loops() -> Any:
    """Return the module of its loops; AutoGraph would take a minute, and nothing there needs it."""
    from object_detection import model_lib_v2  # noqa: PLC0415 - after `prepare`

    for name in ("eager_train_step", "_compute_losses_and_predictions_dicts"):
        plain = tf.autograph.experimental.do_not_convert(getattr(model_lib_v2, name))
        setattr(model_lib_v2, name, plain)
    return model_lib_v2


def scalars() -> dict[str, Any]:
    """Return the scalars of each step, by name in TensorBoard; filled during training."""
    recorded: dict[str, Any] = {}

    def scalar(name: str, data: Any, step: Any) -> None:
        del step
        recorded.setdefault(name, []).append(float(data))

    tf.compat.v2.summary.scalar = scalar
    return recorded


def train(config: str, model_dir: str, steps: str, every: str = "25") -> None:
    recorded = scalars()
    loops().train_loop(
        config,
        model_dir,
        train_steps=int(steps),
        checkpoint_every_n=int(every),
        record_summaries=False,
        num_steps_per_iteration=1,
    )
    np.savez(f"{model_dir}/scalars.npz", **recorded)
    tf.keras.backend.clear_session()


def branch(folder: str, steps: str, more: str) -> None:
    # Each run makes a model of its own, as in a new process, which takes half a minute to start.
    start = Path(folder, "start")
    train(f"{start}.config", str(start), steps)
    for config in sorted(set(Path(folder).glob("*.config")) - {Path(f"{start}.config")}):
        model_dir = config.with_suffix("")
        shutil.copytree(start, model_dir)
        train(str(config), str(model_dir), more)


def evaluate(config: str, out: str, *model_dirs: str) -> None:
    # Its drawings need a Pillow below 10.
    loops().vutils.draw_side_by_side_evaluation_image = lambda *_words, **_named: []
    found = []
    for folder in model_dirs:
        recorded = scalars()
        loops().eval_continuously(
            config, model_dir=folder, checkpoint_dir=folder, wait_interval=1, timeout=1
        )
        found.append({name: value for name, (value,) in recorded.items()})
    Path(out).write_text(json.dumps(found))


SENTINEL = 7.25


def classifier(config: str, prefix: str) -> None:
    backbone = build(config)._feature_extractor.classification_backbone
    shake(backbone.variables, np.random.default_rng(0))
    tf.train.Checkpoint(feature_extractor=backbone).save(prefix)


def restore(config: str, checkpoint: str, folder: str) -> None:
    recorded = {mode: restored(config, checkpoint, mode, folder) for mode in MODES}
    Path(folder, "outcomes.json").write_text(json.dumps(recorded))


MODES = ("classification", "detection", "full")


def restored(config: str, checkpoint: str, mode: str, folder: str) -> dict[str, Any]:
    """Return the error of the OD API's loader, if any, and how much of each part it wrote.

    All values afterwards, those that it did not write as SENTINEL, are kept in `folder`/`mode`.
    """
    from object_detection import model_lib_v2  # noqa: PLC0415 - after `prepare`
    from object_detection.protos import train_pb2  # noqa: PLC0415

    model, error = build(config), None
    parts = parts_of(model)
    for variable in (v for part in parts.values() for v in part):
        variable.assign(tf.fill(variable.shape, SENTINEL))
    try:
        model_lib_v2.load_fine_tune_checkpoint(
            model,
            checkpoint,
            mode,
            train_pb2.CheckpointVersion.V2,
            run_model_on_dummy_input=False,
            input_dataset=None,
            unpad_groundtruth_tensors=True,
        )
    except (AssertionError, ValueError) as failed:
        error = f"{type(failed).__name__}: {failed}"[:300]
    tf.train.Checkpoint(model=model).write(f"{folder}/{mode}")
    written = {
        name: sum(bool(np.any(v.numpy() != SENTINEL)) for v in part) for name, part in parts.items()
    }
    return {"error": error, "written": written}


def parts_of(model: Any) -> dict[str, list[tf.Variable]]:
    """Return all variables, grouped as the modes do."""
    extractor, predictor = model._feature_extractor, model._box_predictor
    backbone = extractor.classification_backbone.variables
    coarse = [v for layers in extractor._coarse_feature_layers for x in layers for v in x.variables]
    apart = {id(v) for v in [*backbone, *coarse]}
    box = predictor._box_prediction_head.variables
    label = predictor._prediction_heads["class_predictions_with_background"].variables
    heads = {id(v) for v in [*box, *label]}
    return {
        "backbone": backbone,
        "fpn": [v for v in extractor.variables if id(v) not in apart],
        "coarse": coarse,
        "tower": [v for v in predictor.variables if id(v) not in heads],
        "box": box,
        "class": label,
    }


COMMANDS: dict[str, Any] = {
    command.__name__: command for command in (outputs, classifier, train, branch, evaluate, restore)
}

if __name__ == "__main__":
    prepare()
    COMMANDS[sys.argv[1]](*sys.argv[2:])
