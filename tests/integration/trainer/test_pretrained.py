"""The published ImageNet weights of EfficientNet-lite0: that they see, and that they help."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest
import yaml

from detection_trainer.contract.sources import RestoreMode
from detection_trainer.data.samples import write_sample
from detection_trainer.storage import open_folder, open_parent
from detection_trainer.weights.restore import restore
from detection_trainer.weights.sources import open_weights
from detection_trainer.weights.torch.tensors import read_arrays
from tests.support.trainer.attempts import RunPlace
from tests.support.trainer.detectors import small_detector
from tests.support.trainer.pretrained import lite0_weights, photograph

EXAMPLE = Path(__file__).parents[3] / "examples/trees.yaml"
EPSILON = 1e-3
SIDE = 224
Classify = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


@pytest.fixture(scope="module")
def classify() -> Classify:
    """Return the ImageNet classifier: a detector's own backbone, and the head that the file has."""
    uri = lite0_weights().as_uri()
    detector = small_detector(backbone="efficientnet_lite0", imageSize=SIDE)
    restored = restore(
        detector, RestoreMode.CLASSIFICATION, open_weights(uri, {}, detector.spec), ["a", "b"]
    )
    assert restored.groups["backbone"].fresh == 0
    last = detector.network.get_layer("backbone.block7a_project_bn").output
    backbone = keras.Model(detector.network.input, last)
    parts = ("weight", "bias", "running_mean", "running_var")
    names = ["_conv_head.weight", "_fc.weight", "_fc.bias", *(f"_bn1.{part}" for part in parts)]
    head = read_arrays(*open_parent(uri, {}), {name: name for name in names})

    def probabilities(image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        features = backbone(image[None]).numpy()[0] @ head["_conv_head.weight"][:, :, 0, 0].T
        gamma, beta, mean, variance = (head[f"_bn1.{part}"] for part in parts)
        features = (features - mean) / np.sqrt(variance + EPSILON) * gamma + beta
        pooled = np.clip(features, 0.0, 6.0).mean((0, 1))
        scores = np.exp(pooled @ head["_fc.weight"].T + head["_fc.bias"])
        return np.asarray(scores / scores.sum(), np.float32)

    return probabilities


@pytest.mark.parametrize(
    ("name", "classes", "share"),
    [
        pytest.param("chelsea.png", {281, 282, 285}, 0.9, id="a cat: tabby, tiger, Egyptian"),
        pytest.param("coffee.png", {967, 968}, 0.95, id="a coffee: espresso, cup"),
        pytest.param("rocket.jpg", {657, 744}, 0.5, id="a rocket: missile, projectile"),
    ],
)
def test_photographs_are_classified_correctly(
    classify: Classify, name: str, classes: set[int], share: float
) -> None:
    """The shares are just below what is measured: other padding or scaling does not reach all."""
    found = classify(photograph(name, SIDE))
    assert int(np.argmax(found)) in classes
    assert float(found[list(classes)].sum()) > share


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the example's spec with this backbone, small and short, on the demo's tiles."""
    folder = tmp_path_factory.mktemp("trees")
    write_sample("trees", open_folder(folder.as_uri()), os.environ)
    spec: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())["spec"]
    for field in ("checkpoints", "credentials", "resources"):
        del spec[field]
    spec["model"] |= {
        "backbone": "efficientnet_lite0",
        "imageSize": 96,
        "batchNorm": {"momentum": 0.9},
    }
    spec["dataset"] |= {
        part: {"uri": f"{folder.as_uri()}/{part}-*.tfrecord"} for part in ("train", "validation")
    }
    spec["optimizer"] |= {
        "learningRate": 0.002,
        "schedule": {"type": "cosine", "warmupSteps": 10, "finalFraction": 0.1},
    }
    return spec | {"steps": 40, "evaluation": {"everySteps": 40}}


def test_tree_crowns_are_found_sooner_than_from_scratch(
    trees: dict[str, Any], tmp_path: Path
) -> None:
    """docs/benchmarks.md has the figures of three seeds."""
    place = RunPlace(tmp_path)
    pretrained = {"mode": "classification", "from": {"uri": lite0_weights().as_uri()}}
    starts: dict[str, dict[str, Any]] = {"pretrained": {"restore": pretrained}, "scratch": {}}
    found = {}
    for start, more in starts.items():
        checkpoints = {"storage": {"uri": place.uri(start)}, "everySteps": 40}
        report = place.run(start, **trees, **more, checkpoints=checkpoints)
        found[start] = report.metrics["mAP50"]
    assert found["pretrained"] > found["scratch"] + 0.05, found
