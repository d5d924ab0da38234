"""The locations in a pipeline.config: datasets, label map and the checkpoint to restore.

A local path becomes a file:// URI. A placeholder (`PATH_TO_BE_CONFIGURED`) counts as missing,
unless the spec names the location itself.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from detection_trainer.contract.base import STORAGE_SCHEMES
from detection_trainer.contract.pipeline_config.reading import Node

MOST_PATHS = 65
PLACEHOLDER = "PATH_TO_BE_CONFIGURED"
_TYPES = ("classification", "detection", "full")


@dataclass(slots=True)
class Places:
    """The usable locations of the configuration."""

    working_folder: str | None
    fields: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """Field of the spec -> a sentence: why the configuration does not give it."""

    def uri(self, path: str, text: str) -> str:
        """Return the URI for the location `text` at `path`, or a sentence: why there is none."""
        if not text or PLACEHOLDER in text:
            return f"{path}: the placeholder is not filled in (received {text!r})"
        if text.startswith(STORAGE_SCHEMES):
            return text
        if self.working_folder is not None and "://" not in text:
            text = f"{self.working_folder}/{text}" if not text.startswith("/") else text
        if text.startswith("/") and not text.startswith("//"):
            # A path is not percent-encoded, so its percent signs must be.
            return f"file://{text.replace('%', '%25')}"
        return (
            f"{path}: expected a URI (s3://, gs://, az://, file:///) or an absolute path; received "
            f"{text!r}"
        )


def map_places(pipeline: Node, notes: list[str], working_folder: str | None) -> Places:
    """Return `spec.dataset` and `spec.restore`.

    Args:
        pipeline: the configuration.
        notes: receives what is ignored.
        working_folder: the base of relative paths; None refuses them.

    Raises:
        PipelineConfigError: a reader or a checkpoint has an unsupported type.
    """
    places = Places(working_folder)
    _map_dataset(pipeline, places, notes)
    _map_restore(pipeline.below("train_config"), places)
    return places


def _map_dataset(pipeline: Node, places: Places, notes: list[str]) -> None:
    train = pipeline.below("train_input_reader")
    evaluations = pipeline.each("eval_input_reader")
    dataset: dict[str, Any] = {}
    problems = []
    label_map = places.uri(f"{train.path}.label_map_path", train.text("label_map_path"))
    for name, uris in (("train", _records(train, places)), ("labelMap", [label_map])):
        wrong = _wrong(uris)
        problems += wrong
        if not wrong:
            dataset[name] = _place(uris)
    if evaluations:
        uris = _records(evaluations[0], places)
        # Mark it as read: the training's label map is used for both.
        evaluations[0].text("label_map_path")
        wrong = _wrong(uris)
        notes += [f"{problem}: evaluation is off without it" for problem in wrong]
        if not wrong:
            dataset["validation"] = _place(uris)
    notes += [
        f"{reader.path}: the first eval_input_reader is evaluated, as in the OD API's TF2 trainer"
        for reader in evaluations[1:]
    ]
    # Without a label map, the model's field is the number of classes.
    classes = pipeline.below("model").below("ssd").integer("num_classes", 0)
    if classes:
        dataset["numClasses"] = classes
    places.fields["dataset"] = dataset
    if problems:
        places.missing["dataset"] = "; ".join(problems)


def _wrong(found: Sequence[str]) -> list[str]:
    return [text for text in found if not text.startswith(STORAGE_SCHEMES)]


def _place(uris: Sequence[str]) -> dict[str, Any]:
    """Return the place in a spec for all `uris`."""
    more = list(uris[1:])
    return {"uri": uris[0], **({"additionalUris": more} if more else {})}


def _records(reader: Node, places: Places) -> list[str]:
    """Return the URIs, or for each missing one a sentence: why there is none."""
    _require_plain(reader)
    if not reader.has("tf_record_input_reader"):
        return [f"{reader.path}.tf_record_input_reader: expected an input_path; received none"]
    records = reader.below("tf_record_input_reader")
    where, paths = f"{records.path}.input_path", records.texts("input_path")
    if not paths:
        return [f"{where}: expected paths, with * for shards; received none"]
    if len(paths) > MOST_PATHS:
        problem = f"expected at most {MOST_PATHS} paths, with * for shards; received {len(paths)}"
        return [f"{where}: {problem}"]
    return [places.uri(where, re.sub(r"\?+", "*", path)) for path in dict.fromkeys(paths)]


def _require_plain(reader: Node) -> None:
    boxes = "only records of images with boxes are supported"
    reader.absent("external_input_reader", "only TFRecords are read")
    reader.only("input_type", "TF_EXAMPLE", boxes, "TF_EXAMPLE")
    reader.only("num_additional_channels", 0, boxes, 0)
    reader.only("load_multiclass_scores", expected=False, why=boxes, default=False)
    reader.only("load_context_features", expected=False, why=boxes, default=False)
    reader.only("expand_labels_hierarchy", expected=False, why=boxes, default=False)
    reader.only("sample_1_of_n_examples", 1, "every image is used", 1)
    reader.absent("sample_from_datasets_weights", "only one dataset is supported")


def _map_restore(train: Node, places: Places) -> None:
    checkpoint, kind = train.text("fine_tune_checkpoint"), train.text("fine_tune_checkpoint_type")
    version = train.text("fine_tune_checkpoint_version", "V1")
    detection = train.flag("from_detection_checkpoint")
    train.only(
        "load_all_detection_checkpoint_vars",
        expected=False,
        why="the OD API's TF2 trainer does not use it either",
        default=False,
    )
    if not checkpoint:
        return
    mode = kind or ("detection" if detection else "classification")
    if mode not in _TYPES:
        raise train.error(
            "fine_tune_checkpoint_type", f"expected one of {', '.join(_TYPES)}; received {kind!r}"
        )
    if version not in {"V2", "2"}:
        raise train.error(
            "fine_tune_checkpoint_version",
            f"expected V2; received {version}"
            f"{'' if train.has('fine_tune_checkpoint_version') else ' (its default)'}: "
            "checkpoints of TensorFlow 1 are not read",
        )
    uri = places.uri("train_config.fine_tune_checkpoint", checkpoint)
    if uri.startswith(STORAGE_SCHEMES):
        places.fields["restore"] = {"mode": mode, "from": {"uri": uri}}
    else:
        places.missing["restore"] = uri
