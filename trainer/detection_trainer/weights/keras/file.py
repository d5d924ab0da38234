"""A weights file of Keras as a source: one of our detectors, or an image classifier.

The name of a layer identifies the model's variables, and their order in the model identifies each.
Layers of a classifier that are not part of the backbone are ignored.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt

from detection_trainer.contract.backbone_shapes import RANDOM_STATE, Shape, backbone_shapes
from detection_trainer.contract.model import Model
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.storage import Folder
from detection_trainer.weights.keras.layers import KerasLayer, read_arrays, read_layers

_GROUPS = ("backbone", "feature_extractor", "box_head", "class_head")
_KERNEL_RANK = 4
_TOPS = ("conv_preds", "normalization", "top_bn", "top_conv")
"""Layers of keras.applications with variables below C3 or above C5."""


class KerasFile:
    """The variables of a Keras file, under the paths of one of our models."""

    classes: list[str] | None = None
    """Not stored in the file: of a detector only the number of classes is compared."""
    step: int | None = None
    digest: str | None = None

    def __init__(self, folder: Folder, name: str, model: Model) -> None:
        """Map the file's variables to paths of `model`; reads headers only.

        Raises:
            DamagedCheckpointError: the file is invalid.
            RestoreRefusedError: it does not name its layers.
        """
        self._folder, self._name, self.uri = folder, name, folder.uri_of(name)
        layers = read_layers(folder, name)
        if not any(layer.name for layer in layers):
            msg = (
                f"{self.uri} does not name its layers, as older versions of Keras 3 wrote it: load "
                "it with a current Keras and save it again"
            )
            raise RestoreRefusedError(msg)
        is_detector = any(_own_path(layer.name) for layer in layers)
        self.model: Model | None = None if is_detector else Model(backbone=model.backbone)
        found = _named(layers, _variables_by_layer(model))
        self._places = {path: place for path, (place, _) in found.items()}
        self.shapes: Mapping[str, Shape] = {path: shape for path, (_, shape) in found.items()}

    def read(self, paths: Iterable[str]) -> dict[str, npt.NDArray[Any]]:
        """Return the weights at `paths`."""
        return read_arrays(self._folder, self._name, {path: self._places[path] for path in paths})


def _variables_by_layer(model: Model) -> dict[str, list[str]]:
    """Return the names of the variables of each layer of `model`, in order."""
    whole = {f"backbone/{path}": s for path, s in backbone_shapes(model.backbone, 5).items()}
    layers: dict[str, list[str]] = {}
    for path in variable_shapes(model, num_classes=1) | whole:
        layer, _, variable = path.rpartition("/")
        if variable != RANDOM_STATE:
            layers.setdefault(layer, []).append(variable)
    return layers


def _named(
    layers: Sequence[KerasLayer], known: Mapping[str, list[str]]
) -> dict[str, tuple[str, Shape]]:
    home = _backbone_container(layers, known)
    found = {}
    for layer in layers:
        path = _path(layer, known, home)
        names = known.get(path, [])
        for index, (place, shape) in enumerate(layer.variables):
            name = names[index] if index < len(names) else str(index)
            found[f"{path}/{name}"] = (place, shape)
    return found


def _backbone_container(layers: Sequence[KerasLayer], known: Mapping[str, list[str]]) -> str:
    """Return the model within the file that has the most layers of the backbone."""
    counts = {layer.container: 0 for layer in layers}
    for layer in layers:
        counts[layer.container] += f"backbone/{layer.name}" in known
    return max(counts, key=lambda container: counts[container])


def _path(layer: KerasLayer, known: Mapping[str, list[str]], home: str) -> str:
    """Return the layer's path in the model; `other/…` if it is not part of a backbone.

    A convolution within the backbone that the model lacks belongs to another backbone, so it is a
    difference; the dense layers of a classifier are not.
    """
    if own := _own_path(layer.name):
        return own
    inside = layer.container == home and layer.name not in _TOPS
    is_kernel = len(layer.variables[0][1]) == _KERNEL_RANK
    if inside and (f"backbone/{layer.name}" in known or is_kernel):
        return f"backbone/{layer.name}"
    return f"other{layer.container}/{layer.name}"


def _own_path(name: str) -> str:
    """Return the path of a layer that this package named; empty for other layers."""
    group, dot, _ = name.partition(".")
    return name.replace(".", "/") if dot and group in _GROUPS else ""
