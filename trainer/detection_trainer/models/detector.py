"""A detector: a network whose variables each have a stable path and a group."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from detection_trainer.contract.model import Model
from detection_trainer.models.anchors import anchor_boxes

GROUPS = ("backbone", "feature_extractor", "box_head", "class_head")
"""The groups of restore and freeze; a variable's path begins with its group."""


class Detector:
    """The interface of a model for loop, restore, checkpoint and evaluation.

    Attributes:
        network: images float32 [B,S,S,3], RGB in 0..255, to `box_encodings` float32 [B,A,4] and
            `class_logits` float32 [B,A,1+C], background first.
        variables: every variable by path, batch-norm statistics and random state included.
        anchors: float32 [A,4], ymin, xmin, ymax, xmax as fractions of the model's square.
    """

    def __init__(
        self,
        spec: Model,
        num_classes: int,
        network: keras.Model,
        layers: Mapping[str, keras.layers.Layer],
        *,
        freeze: Sequence[str] = (),
    ) -> None:
        """Name all variables of `network` with the paths of `layers`.

        Raises:
            ValueError: a variable has no path, or two.
        """
        self.spec, self.num_classes = spec, num_classes
        self.network, self.frozen = network, frozenset(freeze)
        self.anchors = anchor_boxes(spec) * np.reciprocal(np.float32(spec.image_size))
        self.variables = _variables_by_path(network, layers)

    def __call__(self, images: Any, *, training: bool) -> dict[str, Any]:
        """Run the network on `images` [B,S,S,3]."""
        outputs: dict[str, Any] = self.network(images, training=training)
        return outputs

    @staticmethod
    def group_of(path: str) -> str:
        """Return the group of the variable at `path`."""
        return path.partition("/")[0]

    @property
    def trainable(self) -> list[keras.Variable]:
        """The variables that training updates, in the order in which they were created."""
        return list(self.trainable_by_path.values())

    @property
    def trainable_by_path(self) -> dict[str, keras.Variable]:
        """The variables that training updates: no statistics, random state or frozen groups."""
        return {
            path: variable
            for path, variable in self.variables.items()
            if variable.trainable and self.group_of(path) not in self.frozen
        }


def _variables_by_path(
    network: keras.Model, layers: Mapping[str, keras.layers.Layer]
) -> dict[str, keras.Variable]:
    found = {
        f"{path}/{variable.name}": variable
        for path, layer in layers.items()
        for variable in layer.variables
    }
    named = {id(variable) for variable in found.values()}
    missing = [variable.path for variable in network.variables if id(variable) not in named]
    if missing or len(named) != len(found) or len(found) != len(network.variables):
        msg = (
            f"expected one path for each of the network's {len(network.variables)} variables; "
            f"received {len(found)} paths for {len(named)} variables, none for {missing[:5]}"
        )
        raise ValueError(msg)
    return found
