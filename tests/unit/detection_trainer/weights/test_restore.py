from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
import pytest

from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.model import Backbone, Model
from detection_trainer.contract.restore_check import RestorePlan
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import (
    RestoreRefusedError,
    StorageUnavailableError,
    TrainerError,
)
from detection_trainer.models import Detector, backbones
from detection_trainer.weights import restore as restoring
from detection_trainer.weights.keras.imagenet import KerasWeights
from detection_trainer.weights.restore import restore, weights_digest
from tests.support.trainer.detectors import shake, small_detector

Arrays = dict[str, np.ndarray[Any, Any]]
CLASSIFICATION, DETECTION, FULL = RestoreMode
COUNTS = {
    # group: restored by classification, detection, full; of the small detector
    "backbone": (65, 65, 65),
    "feature_extractor": (0, 26, 26),
    "box_head": (0, 0, 23),
    "class_head": (0, 0, 23),
}


class MemoryWeights:
    """A checkpoint in memory."""

    uri = "file:///runs/trees/step-00000300"
    step: int | None = 300
    digest: str | None = "sha256:" + "a" * 64

    def __init__(self, detector: Detector, classes: list[str]) -> None:
        self.values = values(detector)
        self.shapes: Mapping[str, tuple[int, ...]] = {p: a.shape for p, a in self.values.items()}
        self.classes: list[str] | None = classes
        self.model: Model | None = detector.spec
        self.was_read: list[str] = []

    def read(self, paths: Iterable[str]) -> Arrays:
        self.was_read = list(paths)
        return {path: self.values[path] for path in self.was_read}


def values(detector: Detector) -> Arrays:
    return {path: np.array(v.numpy()) for path, v in detector.variables.items()}


@pytest.fixture(scope="module")
def trained() -> Detector:
    detector = small_detector(num_classes=2)
    shake(detector, seed=5)
    return detector


@pytest.fixture
def source(trained: Detector) -> MemoryWeights:
    return MemoryWeights(trained, ["Dead", "Alive"])


@pytest.mark.parametrize(
    ("mode", "classes"),
    [
        (CLASSIFICATION, ["Dead", "Alive"]),
        (DETECTION, ["Dead", "Alive"]),
        (FULL, ["Dead", "Alive"]),
        (CLASSIFICATION, ["Dead", "Alive", "Felled"]),
        (DETECTION, ["Dead", "Alive", "Felled"]),
    ],
)
def test_a_mode_assigns_its_groups_bit_by_bit_and_no_other(
    mode: RestoreMode, classes: list[str], source: MemoryWeights
) -> None:
    detector = small_detector(num_classes=len(classes))
    fresh = values(detector)
    plans: list[RestorePlan] = []
    restored = restore(detector, mode, source, classes, plans.append)
    place = list(RestoreMode).index(mode)
    for path, array in values(detector).items():
        taken = COUNTS[Detector.group_of(path)][place] > 0
        assert array.tobytes() == (source.values if taken else fresh)[path].tobytes()
    counts = {group: restored.groups[group].restored for group in COUNTS}
    assert counts == {group: count[place] for group, count in COUNTS.items()}
    assert restored.variables.restored == sum(counts.values())
    assert restored.variables.restored + restored.variables.fresh == len(fresh)
    assert (restored.mode, restored.uri, restored.step) == (mode, source.uri, 300)
    assert restored.digest == source.digest
    (plan,) = plans
    assert (plan.assign, plan.fresh) == (
        [path for path in fresh if COUNTS[Detector.group_of(path)][place]],
        [path for path in fresh if not COUNTS[Detector.group_of(path)][place]],
    )


def test_variables_that_a_mode_does_not_restore_are_not_read(source: MemoryWeights) -> None:
    restore(small_detector(), CLASSIFICATION, source)
    assert {Detector.group_of(path) for path in source.was_read} == {"backbone"}


def test_a_source_without_a_digest_gets_that_of_its_values(source: MemoryWeights) -> None:
    source.digest = None
    restored = restore(small_detector(), FULL, source)
    assert restored.digest == weights_digest(source.values)


def refused(detector: Detector, mode: RestoreMode, source: Any, **more: Any) -> RestoreRefusedError:
    """Restore, expecting a refusal that leaves every variable as it was."""
    before = weights_digest(values(detector))
    with pytest.raises(RestoreRefusedError) as caught:
        restore(detector, mode, source, **more)
    assert weights_digest(values(detector)) == before
    assert caught.value.exit_code == ExitCode.RESTORE_REFUSED
    return caught.value


def test_other_classes_refuse_full_before_anything_is_read(source: MemoryWeights) -> None:
    error = refused(small_detector(num_classes=3), FULL, source, classes=["a", "b", "c"])
    assert source.was_read == []
    assert len(error.differences) == 3
    assert "classes: the source has [Dead, Alive], the model [a, b, c]" in error.differences
    assert any(
        "class_head/predictor/bias: the source has shape (6,), the model expects (8,)" in difference
        for difference in error.differences
    )
    assert "set restore.mode to classification or detection" in str(error)


def test_the_same_classes_in_another_order_refuse_full(source: MemoryWeights) -> None:
    error = refused(small_detector(), FULL, source, classes=["Alive", "Dead"])
    assert error.differences == ("classes: the source has [Dead, Alive], the model [Alive, Dead]",)


def test_other_classes_fit_detection(source: MemoryWeights) -> None:
    restored = restore(small_detector(num_classes=5), DETECTION, source, list("abcde"))
    assert restored.variables.restored == 91


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(lambda _: None, "the source gave nothing", id="a value is missing"),
        pytest.param(lambda a: a[..., :-1], "the source gave shape", id="its shape is another"),
        pytest.param(lambda a: a.astype("f8"), "the source has float64", id="its type is another"),
        pytest.param(lambda a: a * np.nan, "not finite", id="it holds NaN"),
    ],
)
def test_a_source_that_breaks_its_promise_changes_nothing(
    source: MemoryWeights, damage: Any, sentence: str
) -> None:
    path = "feature_extractor/lateral_5/kernel"
    damaged = damage(source.values[path])
    read = source.read
    source.read = lambda paths: {  # type: ignore[method-assign] # a dishonest source
        p: array for p, array in (read(paths) | {path: damaged}).items() if array is not None
    }
    error = refused(small_detector(), DETECTION, source)
    assert len(error.differences) == 1
    assert path in error.differences[0]
    assert sentence in error.differences[0]


def test_values_that_do_not_stay_as_assigned_are_an_error(
    source: MemoryWeights, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = iter(["one", "another"])
    monkeypatch.setattr(restoring, "weights_digest", lambda _: next(digests))
    with pytest.raises(TrainerError, match=r"digest is one, expected another"):
        restore(small_detector(), FULL, source)


def test_the_digest_is_of_paths_and_bytes() -> None:
    one = np.arange(4, dtype=np.float32)
    assert weights_digest({"a": one, "b": one}) == weights_digest({"b": one, "a": one})
    assert weights_digest({"a": one}) != weights_digest({"b": one})
    assert weights_digest({"a": one}) != weights_digest({"a": -one})


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param("keras://tiny/imagenet", id="an own backbone"),
        pytest.param("keras://efficientnet_lite0/imagenet", id="one that Keras has not"),
        pytest.param("keras://alexnet/imagenet", id="an unknown one"),
        pytest.param("keras://resnet50/coco", id="other weights"),
        pytest.param("keras://resnet50", id="no weights named"),
    ],
)
def test_weights_that_keras_does_not_have_are_refused(uri: str) -> None:
    with pytest.raises(RestoreRefusedError, match=r"expected keras://<backbone>/imagenet.*vgg16"):
        KerasWeights(uri)


def random_application(name: Backbone, image_size: int = 32) -> keras.Model:
    entry = backbones.BACKBONES[name]
    assert isinstance(entry, backbones.Application)
    network = entry.build(include_top=False, weights=None, input_shape=(image_size, image_size, 3))
    random = np.random.default_rng(3)
    for variable in network.variables:
        if variable.name.endswith("moving_variance"):
            variable.assign(random.uniform(0.5, 1.5, tuple(variable.shape)))
    return network


@pytest.mark.parametrize(
    ("backbone", "end"),
    [
        pytest.param("mobilenet_v2", "out_relu", id="mobilenet_v2"),
        pytest.param("vgg16", "block5_pool", id="vgg16"),
    ],
)
def test_imagenet_weights_make_the_backbone_compute_as_keras_does(
    backbone: str, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = random_application(Backbone(backbone), 64)
    monkeypatch.setattr("detection_trainer.models.backbones.imagenet_network", lambda _: theirs)
    detector = small_detector(backbone=backbone, fpn={"additionalLayerDepth": 8})
    restored = restore(detector, CLASSIFICATION, KerasWeights(f"keras://{backbone}/imagenet"))
    assert restored.groups["backbone"].fresh == 0
    assert restored.step is None
    images = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    mode = {"mobilenet_v2": "tf", "vgg16": "caffe"}[backbone]
    expected = keras.Model(theirs.input, theirs.get_layer(end).output)(
        keras.applications.imagenet_utils.preprocess_input(images.copy(), mode=mode)
    )
    backbone_network = next(x for x in detector.network.layers if isinstance(x, keras.Model))
    found = backbone_network(detector.network.get_layer("backbone.preprocessing")(images))[-1]
    assert np.std(expected) > 0.0
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.max(np.abs(expected))))


def test_random_state_is_not_among_imagenet_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = random_application(Backbone.EFFICIENTNET_B0)
    monkeypatch.setattr("detection_trainer.models.backbones.imagenet_network", lambda _: theirs)
    detector = small_detector(backbone="efficientnet_b0", fpn={"additionalLayerDepth": 8})
    restored = restore(detector, CLASSIFICATION, KerasWeights("keras://efficientnet_b0/imagenet"))
    assert restored.groups["backbone"].fresh == 9


def test_imagenet_weights_fit_a_model_without_the_last_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = random_application(Backbone.VGG16)
    monkeypatch.setattr("detection_trainer.models.backbones.imagenet_network", lambda _: theirs)
    detector = small_detector(backbone="vgg16", fpn={"maxLevel": 3, "additionalLayerDepth": 8})
    restored = restore(detector, CLASSIFICATION, KerasWeights("keras://vgg16/imagenet"))
    assert restored.groups["backbone"].restored == 20


def test_imagenet_weights_fit_no_other_mode() -> None:
    detector = small_detector(backbone="vgg16", fpn={"additionalLayerDepth": 8})
    error = refused(detector, DETECTION, KerasWeights("keras://vgg16/imagenet"))
    assert "feature_extractor/lateral_5/kernel: missing in the source" in str(error)
    assert "set restore.mode to classification, which" in str(error)


def test_a_failed_download_may_be_retried_and_has_a_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def offline(_: Backbone) -> keras.Model:
        raise OSError("URL fetch failure: Name or service not known")

    monkeypatch.setattr("detection_trainer.models.backbones.imagenet_network", offline)
    detector = small_detector(backbone="vgg16", fpn={"additionalLayerDepth": 8})
    with pytest.raises(StorageUnavailableError, match=r"Name or service not known.*KERAS_HOME"):
        restore(detector, CLASSIFICATION, KerasWeights("keras://vgg16/imagenet"))


@pytest.mark.parametrize("backbone", [Backbone.TINY, Backbone.EFFICIENTNET_LITE0])
def test_own_backbones_have_no_imagenet_network(backbone: Backbone) -> None:
    with pytest.raises(KeyError, match=backbone):
        backbones.imagenet_network(backbone)
