"""Files of weights that Keras itself wrote, in each of its layouts, as sources of a restore."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format
from obstore.store import MemoryStore

from detection_trainer.contract.backbone_shapes import RANDOM_STATE, backbone_shapes
from detection_trainer.contract.model import Backbone, Model
from detection_trainer.contract.restore_check import compare_for_restore
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import DamagedCheckpointError, NotFoundError, RestoreRefusedError
from detection_trainer.models import Detector
from detection_trainer.models.backbones import BACKBONES, Application
from detection_trainer.storage import Folder, open_folder
from detection_trainer.storage.objects import ObjectStorage
from detection_trainer.weights.keras.file import KerasFile
from detection_trainer.weights.keras.layers import is_keras_file
from detection_trainer.weights.restore import restore, weights_digest
from detection_trainer.weights.sources import find_run, open_weights
from tests.support.trainer.detectors import shake, small_detector, small_model

CLASSIFICATION, DETECTION, FULL = RestoreMode
PYRAMID = {"additionalLayerDepth": 8}
Network = Any
Save = Callable[[Network, Path], None]


def save_legacy(network: Network, path: Path) -> None:
    """Write the layout of the files that keras.applications downloads."""
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def save_compressed(network: Network, path: Path) -> None:
    network.save(path.with_suffix(".plain.keras"))
    with (
        zipfile.ZipFile(path.with_suffix(".plain.keras")) as plain,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))


def application(backbone: str, *, top: bool, size: int = 64) -> Network:
    entry = BACKBONES[Backbone(backbone)]
    assert isinstance(entry, Application)
    more = {"classes": 5} if top else {}
    network = entry.build(
        include_top=top, weights=None, input_shape=(size, size, 3), name=f"{backbone}-a", **more
    )
    random = np.random.default_rng(7)
    for variable in network.variables:
        if "float" in variable.dtype:
            variable.assign(random.uniform(0.1, 1.0, tuple(variable.shape)))
    return network


def classifier_around(backbone: str) -> Network:
    """Return a usual classifier: with the backbone as a separate model."""
    images = keras.Input((64, 64, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(application(backbone, top=False)(images))
    return keras.Model(images, keras.layers.Dense(3)(keras.layers.Dense(7)(pooled)))


SAVES: dict[str, tuple[str, Save]] = {
    ".weights.h5": ("a.weights.h5", lambda network, path: network.save_weights(path)),
    ".keras": ("a.keras", lambda network, path: network.save(path)),
    "compressed .keras": ("a.keras", save_compressed),
    "the older .h5": ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", save_legacy),
}


def saved(tmp_path: Path, network: Network, how: str) -> Path:
    name, save = SAVES[how]
    save(network, tmp_path / name)
    return tmp_path / name


def opened(path: Path, model: Model) -> KerasFile:
    found = open_weights(path.as_uri(), {}, model)
    assert isinstance(found, KerasFile)
    return found


def values_of(network: Network) -> dict[str, Any]:
    return {
        f"backbone/{layer.name}/{variable.name}": variable.numpy()
        for layer in network._flatten_layers(include_self=False, recursive=True)
        if not isinstance(layer, keras.Model)
        for variable in layer.variables
    }


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {
        "bare": application("mobilenet_v2", top=False),
        "with its top": application("mobilenet_v2", top=True),
        "inside a classifier": classifier_around("mobilenet_v2"),
    }


MOBILENET = small_model(backbone="mobilenet_v2", fpn=PYRAMID)


@pytest.mark.parametrize("how", SAVES)
@pytest.mark.parametrize("network", ["bare", "with its top", "inside a classifier"])
def test_a_classifiers_backbone_is_found_in_every_layout(
    tmp_path: Path, networks: dict[str, Network], how: str, network: str
) -> None:
    source = opened(saved(tmp_path, networks[network], how), MOBILENET)
    expected = values_of(networks[network])
    plan = compare_for_restore(
        CLASSIFICATION,
        source.shapes,
        variable_shapes(MOBILENET, 2),
        source.classes,
        ["a", "b"],
        source_model=source.model,
        target_model=MOBILENET,
    )
    assert (plan.differences, len(plan.assign)) == ([], 260)
    assert weights_digest(source.read(plan.assign)) == weights_digest(
        {path: expected[path] for path in plan.assign}
    )


@pytest.mark.parametrize("backbone", ["resnet50", "efficientnet_b0", "mobilenet_v1"])
def test_the_layers_of_every_family_are_known(tmp_path: Path, backbone: str) -> None:
    path = saved(tmp_path, application(backbone, top=True, size=32), "the older .h5")
    source = opened(path, small_model(backbone=backbone))
    expected = backbone_shapes(Backbone(backbone), 5).items()
    found = {p: shape for p, shape in source.shapes.items() if p.startswith("backbone/")}
    assert found == {f"backbone/{p}": shape for p, shape in expected if RANDOM_STATE not in p}


@pytest.mark.parametrize(
    ("mode", "how", "backbone"),
    [
        (FULL, ".weights.h5", "tiny"),
        (DETECTION, ".keras", "mobilenet_v2"),
        (DETECTION, ".weights.h5", "efficientnet_lite0"),
    ],
)
def test_a_detector_saved_by_keras_serves_every_mode(
    tmp_path: Path, mode: RestoreMode, how: str, backbone: str
) -> None:
    fields: dict[str, Any] = {
        "backbone": backbone,
        "fpn": PYRAMID,
        "boxPredictor": {"depth": 8, "useDepthwise": True},
    }
    trained, fresh = small_detector(**fields), small_detector(**fields)
    shake(trained, seed=4)
    source = opened(saved(tmp_path, trained.network, how), fresh.spec)
    restored = restore(fresh, mode, source, ["a", "b"])
    taken = {"classification": 1, "detection": 2, "full": 4}[mode]
    groups = ("backbone", "feature_extractor", "box_head", "class_head")[:taken]
    for path, variable in fresh.variables.items():
        same = np.array_equal(variable.numpy(), trained.variables[path].numpy())
        assert same == (Detector.group_of(path) in groups), path
    assert restored.variables.fresh == sum(
        Detector.group_of(path) not in groups for path in fresh.variables
    )


def test_another_backbone_is_refused_with_variables_and_shapes(
    tmp_path: Path, networks: dict[str, Network]
) -> None:
    path = saved(tmp_path, networks["bare"], "the older .h5")
    detector = small_detector()
    before = {p: v.numpy() for p, v in detector.variables.items()}
    with pytest.raises(RestoreRefusedError) as caught:
        restore(detector, CLASSIFICATION, opened(path, detector.spec), ["a", "b"])
    lacking = (
        "backbone/stem/conv/kernel: missing in the source, the model expects shape (3, 3, 3, 16)"
    )
    unknown = "backbone/Conv1/0: the source has shape (3, 3, 3, 32), the model has no such variable"
    assert {lacking, unknown} <= set(caught.value.differences)
    assert weights_digest(before) == weights_digest(
        {p: v.numpy() for p, v in detector.variables.items()}
    )


def test_a_deeper_network_of_the_same_family_is_no_part_of_it(
    tmp_path: Path, networks: dict[str, Network]
) -> None:
    """What fits by name and shape is no reason to leave the rest of a network away."""
    path = saved(tmp_path, networks["bare"], ".weights.h5")
    with h5py.File(path, "a") as file:
        file.copy("layers/conv2d", "layers/conv2d_99")
        file["layers/conv2d_99/vars"].attrs["name"] = "block_17_expand"
    source = opened(path, MOBILENET)
    for top in (5, 7):
        model = small_model(backbone="mobilenet_v2", fpn={**PYRAMID, "maxLevel": top})
        plan = compare_for_restore(
            CLASSIFICATION,
            source.shapes,
            variable_shapes(model, 2),
            None,
            None,
            source_model=source.model,
            target_model=model,
        )
        [difference] = plan.differences
        assert difference.startswith("backbone/block_17_expand/0: the source has shape")


def test_other_sizes_are_refused_with_both_shapes(tmp_path: Path) -> None:
    trained = small_detector()
    path = saved(tmp_path, trained.network, ".weights.h5")
    wider = small_detector(fpn={"additionalLayerDepth": 24})
    with pytest.raises(RestoreRefusedError, match=r"has shape .*16.*, the model expects .*24"):
        restore(wider, DETECTION, opened(path, wider.spec), ["a", "b"])


def test_a_run_cannot_continue_from_weights_alone(tmp_path: Path) -> None:
    detector = small_detector()
    path = saved(tmp_path, detector.network, ".weights.h5")
    with pytest.raises(RestoreRefusedError, match="without step and optimizer: use it in restore"):
        find_run(path.as_uri(), {}, detector.spec)


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_weights((tmp_path / "none.weights.h5").as_uri(), {}, small_model())
    assert not is_keras_file(open_folder(tmp_path.as_uri()), "none")


@pytest.mark.parametrize("how", [".weights.h5", ".keras"])
def test_of_an_object_headers_are_read_in_pieces_and_values_alike(
    tmp_path: Path, networks: dict[str, Network], how: str
) -> None:
    path = saved(tmp_path, networks["with its top"], how)
    folder = Folder(ObjectStorage(MemoryStore(), "memory://b"), "memory://b")
    folder.write("x.h5", path)
    local, remote = opened(path, MOBILENET), KerasFile(folder, "x.h5", MOBILENET)
    assert remote.shapes == local.shapes
    wanted = ["backbone/Conv1/kernel", "backbone/bn_Conv1/moving_variance"]
    assert weights_digest(remote.read(wanted)) == weights_digest(local.read(wanted))


def test_headers_are_read_without_tensorflow_and_without_a_configuration(tmp_path: Path) -> None:
    """A configuration names the functions to call; one that would end the process is no matter."""
    path = saved(tmp_path, small_detector().network, ".keras")
    evil = tmp_path / "evil.keras"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(evil, "w") as new:
        new.writestr("model.weights.h5", old.read("model.weights.h5"))
        new.writestr("config.json", json.dumps({"module": "os", "class_name": "abort"}))
    model = small_model().model_dump_json()
    program = (
        "import sys\n"
        "from detection_trainer.contract.model import Model\n"
        "from detection_trainer.weights.sources import open_weights\n"
        f"found = open_weights({evil.as_uri()!r}, {{}}, Model.model_validate_json({model!r}))\n"
        "assert 'class_head/predictor/kernel' in found.shapes\n"
        "sys.exit(bool({'tensorflow', 'keras'} & sys.modules.keys()))"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode
        == 0
    )


def without_names(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.visititems(lambda _, item: item.attrs.pop("name", None) and None)


def linked_elsewhere(path: Path) -> None:
    with h5py.File(path, "a") as file:
        place = next(_kernels(file))
        del file[place]
        file[place] = h5py.ExternalLink("/etc/passwd", "/x")


def kept_elsewhere(path: Path) -> None:
    with h5py.File(path, "a") as file:
        place = next(_kernels(file))
        shape = file[place].shape
        del file[place]
        file.create_dataset(place, shape, "f4", external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def _kernels(file: Any) -> Iterator[str]:
    found: list[str] = []
    file.visit(lambda name: found.append(name) if name.endswith("vars/0") else None)
    return iter(found)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        pytest.param(linked_elsewhere, "a link to somewhere else", id="a link to another file"),
        pytest.param(kept_elsewhere, "keeps its numbers in another file", id="numbers elsewhere"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:3000]), "failed", id="cut off"
        ),
        pytest.param(
            lambda path: h5py.File(path, "w").close(), "no layer with variables", id="empty"
        ),
        pytest.param(lambda path: path.write_bytes(b"PK\x03\x04 no zip"), "failed", id="no zip"),
    ],
)
def test_an_invalid_file_is_reported(
    tmp_path: Path, damage: Callable[[Path], object], sentence: str
) -> None:
    detector = small_detector()
    path = saved(tmp_path, detector.network, ".weights.h5")
    damage(path)
    with pytest.raises(DamagedCheckpointError, match=sentence) as caught:
        opened(path, detector.spec)
    assert str(path.name) in str(caught.value)


def test_a_file_without_names_of_layers_is_refused(tmp_path: Path) -> None:
    detector = small_detector()
    path = saved(tmp_path, detector.network, ".weights.h5")
    without_names(path)
    with pytest.raises(RestoreRefusedError, match="save it again"):
        opened(path, detector.spec)


def test_an_archive_without_weights_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(DamagedCheckpointError, match=r"model\.weights\.h5"):
        opened(path, small_model())
