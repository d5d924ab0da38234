"""DetectionTraining documents for tests: the smallest valid one, and changes of it."""

import copy
from typing import Any

Object = dict[str, Any]

TINY_MODEL: Object = {
    "backbone": "tiny",
    "imageSize": 64,
    "fpn": {"maxLevel": 5, "additionalLayerDepth": 16},
    "boxPredictor": {"depth": 16, "numLayersBeforePredictor": 1},
    "anchors": {"aspectRatios": [1.0]},
}


def training(name: str = "trees", **spec: Any) -> Object:
    """Return a valid DetectionTraining whose top fields of the spec are replaced by `spec`.

    A value of None removes the field.
    """
    fields: Object = {
        "model": copy.deepcopy(TINY_MODEL),
        "dataset": {"train": {"uri": "s3://data/train-*.tfrecord"}, "classes": ["tree"]},
        "steps": 100,
        "batchSize": 4,
        "checkpoints": {"storage": {"uri": f"s3://runs/{name}"}},
    }
    fields |= spec
    return {
        "apiVersion": "detectiontraining.dev/v1alpha1",
        "kind": "DetectionTraining",
        "metadata": {"name": name},
        "spec": {key: value for key, value in fields.items() if value is not None},
    }


def changed(document: Object, path: str, value: Any) -> Object:
    """Return a copy with the field at the dotted `path` set; None removes it."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    place = result
    for parent in parents:
        place = place.setdefault(parent, {})
    if value is None:
        place.pop(last, None)
    else:
        place[last] = value
    return result
