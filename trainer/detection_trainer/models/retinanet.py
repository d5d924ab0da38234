"""The `retinanet` architecture: the OD API's SSD with an FPN."""

from collections.abc import Sequence

import keras

from detection_trainer.contract.model import Backbone, BatchNorm, Model
from detection_trainer.models.backbones import backbone_features
from detection_trainer.models.detector import GROUPS, Detector
from detection_trainer.models.heads import predictions
from detection_trainer.models.layers import LayerFactory
from detection_trainer.models.pyramid import FINEST_COARSE_LEVEL, pyramid_features

FAST_BATCH_NORM_MOMENTUM = 0.9
"""For the small backbones, whose runs may have only a few hundred steps."""


def build_retinanet(
    model: Model, num_classes: int, freeze: Sequence[str] = (), seed: int = 0
) -> Detector:
    """Return the network with fresh weights, which are equal for equal seeds in every process."""
    layers: dict[str, keras.layers.Layer] = {}
    backbone_layers, pyramid_layers, box_layers, class_layers = (
        _factory(model, group, freeze, seed, layers) for group in GROUPS
    )
    images = keras.Input((model.image_size, model.image_size, 3), dtype="float32", name="images")
    features = pyramid_features(
        backbone_features(
            images,
            backbone_layers,
            model.backbone,
            min(model.fpn.max_level, FINEST_COARSE_LEVEL - 1),
            model.batch_norm,
        ),
        pyramid_layers,
        model.fpn,
    )
    outputs = predictions(features, box_layers, class_layers, model, 1 + num_classes)
    network = keras.Model(images, outputs, name=model.architecture)
    return Detector(model, num_classes, network, layers, freeze=freeze)


def _factory(
    model: Model,
    group: str,
    freeze: Sequence[str],
    seed: int,
    layers: dict[str, keras.layers.Layer],
) -> LayerFactory:
    small = model.backbone in {Backbone.TINY, Backbone.SMALL}
    usual = BatchNorm(momentum=FAST_BATCH_NORM_MOMENTUM) if small else BatchNorm()
    return LayerFactory(
        prefix=group,
        policy=keras.DTypePolicy(model.precision),
        seed=seed,
        batch_norm_spec=model.batch_norm or usual,
        for_short_runs=small,
        trainable=group not in freeze,
        layers=layers,
    )
