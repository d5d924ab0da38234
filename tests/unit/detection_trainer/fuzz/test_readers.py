"""Each reader, given damaged files: it ends within a budget of work, by an error of the project."""

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from detection_trainer.checkpoints.export_manifest import read_export
from detection_trainer.checkpoints.format import (
    CheckpointWeights,
    find_checkpoint,
    list_checkpoints,
    read_metrics,
)
from detection_trainer.checkpoints.manifest import SEAL
from detection_trainer.contract.base import canonical_digest
from detection_trainer.contract.documents import DocumentError, parse_json, parse_yaml
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.packing import pack, unpack
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.training import InvalidTrainingError, parse_training
from detection_trainer.data.checksum import masked_crc32c
from detection_trainer.data.examples import InvalidExampleError, check_image, read_example
from detection_trainer.data.label_map import format_label_map, parse_label_map
from detection_trainer.distributed.tf_config import parse_cluster
from detection_trainer.errors import TrainerError
from detection_trainer.options import parse_credentials
from detection_trainer.storage import Folder, open_folder
from detection_trainer.weights.keras import layers as keras_file
from detection_trainer.weights.odapi.bundle import open_bundle
from detection_trainer.weights.odapi.checkpoint import find_bundle
from detection_trainer.weights.torch import tensors as torch_file
from sandbox.samples.datasets import CLASSES, Drawn
from sandbox.samples.trainings import training
from tests.support.trainer.bundles import write_bundle
from tests.support.trainer.fuzzing import Damage, edits, effort, several
from tests.support.trainer.pipeline_configs import FOLDER, config_text
from tests.support.trainer.runs import commit
from tests.support.trainer.torch_files import LAYOUTS, state_dict

CALLS = 400_000
"""Many times what the whole files take; a reader without end takes more in seconds."""
MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ARRAYS: dict[str, Any] = {"a": np.ones((2, 3), np.float32), "n": np.array(7, np.int64)}
Read = Callable[[bytes, Path], object]
Refusals = tuple[type[Exception], ...]


@contextmanager
def refused_or_read(refusals: Refusals) -> Iterator[None]:
    """Allow the reader to fail with one of its errors, which has a message and an exit code."""
    refused: Exception | None = None
    try:
        with effort(CALLS):
            yield
    except refusals as error:
        refused = error
    if refused is not None:
        assert " " in str(refused)
        assert len(str(refused)) < 20_000
    if isinstance(refused, TrainerError):
        assert refused.exit_code is not ExitCode.UNEXPECTED


def encoded(image_format: str, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274], exif[315] = 3, "me"
    Image.fromarray(pixels).save(buffer, image_format, exif=exif, **options)
    return buffer.getvalue()


def legacy_file() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["layer_names"] = np.array([b"l1"])
        group = file.create_group("l1")
        group.attrs["weight_names"] = np.array([b"l1/kernel:0", b"l1/bias:0"])
        group.create_dataset("l1/kernel:0", data=np.ones((3, 4), "f4"))
        group.create_dataset("l1/bias:0", data=np.ones(4, "f4"))
    return buffer.getvalue()


def keras_3_file() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("layers/l1/vars")
        group.attrs["name"] = "l1"
        group.create_dataset("0", data=np.ones((3, 4), "f4"), compression="gzip")
        group.create_dataset("1", data=np.ones(4, "f4"))
    return buffer.getvalue()


def archived(content: bytes, compression: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", content)
    return buffer.getvalue()


def placed(data: bytes, folder: Path) -> Folder:
    (folder / "file").write_bytes(data)
    return open_folder(folder.as_uri())


def read_keras(data: bytes, folder: Path) -> object:
    place = placed(data, folder)
    found = keras_file.read_layers(place, "file")
    paths = {path: path for layer in found for path, _ in layer.variables}
    return keras_file.read_arrays(place, "file", paths)


def read_torch(data: bytes, folder: Path) -> object:
    place = placed(data, folder)
    assert torch_file.is_torch_file(place, "file") in {True, False}
    names = torch_file.read_tensors(place, "file")
    return torch_file.read_arrays(place, "file", {name: name for name in names})


def text(data: bytes) -> str:
    return data.decode(errors="replace")


READERS: dict[str, tuple[list[bytes], Read, Refusals]] = {
    "a DetectionTraining": (
        [yaml.safe_dump(training()).encode(), json.dumps(training()).encode()],
        lambda data, _: parse_training(parse_yaml(text(data))),
        (InvalidTrainingError, DocumentError),
    ),
    "a pipeline.config": (
        [path.read_bytes() for path in sorted(FOLDER.glob("*/*.config"))],
        lambda data, _: read_pipeline_config(text(data)),
        (PipelineConfigError,),
    ),
    "a label map": (
        [
            format_label_map(["tree", 'Hütte "x"']).encode(),
            rb'item { id: 3 name: "a\u677e\x41" display_name: "b" keypoints { id: 1 } }',
        ],
        lambda data, _: parse_label_map(data, "labels.pbtxt"),
        (TrainerError,),
    ),
    "a record": (
        [Drawn().record(image__object__class__text=[b"tree"], image__object__weight=[1.0])],
        lambda data, _: read_example(memoryview(data), CLASSES, decode=True),
        (InvalidExampleError,),
    ),
    "an image": (
        [encoded("PNG"), encoded("JPEG"), encoded("JPEG", progressive=True)],
        lambda data, _: check_image(data, decode=True),
        (InvalidExampleError,),
    ),
    "a state dict of torch": (
        [write(*state_dict(ARRAYS)) for write in LAYOUTS.values()],
        read_torch,
        (TrainerError,),
    ),
    "weights of Keras": (
        [
            legacy_file(),
            keras_3_file(),
            archived(keras_3_file(), zipfile.ZIP_STORED),
            archived(keras_3_file(), zipfile.ZIP_DEFLATED),
        ],
        read_keras,
        (TrainerError,),
    ),
    "a packed text": (
        [pack("model { }" * 9).encode()],
        lambda data, _: unpack(text(data), 100),
        (ValueError,),
    ),
    "JSON": (
        [json.dumps(training()).encode()],
        lambda data, _: parse_json(data),
        (DocumentError,),
    ),
    "places of credentials": (
        [b'{"s3://a": "/b"}'],
        lambda data, _: parse_credentials(text(data)),
        (TrainerError,),
    ),
    "TF_CONFIG": (
        [b'{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 0}}'],
        lambda data, _: parse_cluster(text(data)),
        (TrainerError,),
    ),
}


@pytest.mark.parametrize("reader", READERS)
@given(damage=several(), which=st.integers(0, 100))
@MANY
def test_a_damaged_file_is_read_or_refused(
    tmp_path: Path, reader: str, damage: Damage, which: int
) -> None:
    wholes, read, refusals = READERS[reader]
    data = damage(wholes[which % len(wholes)])
    with refused_or_read(refusals):
        read(data, tmp_path)


@pytest.mark.parametrize("reader", READERS)
@given(data=st.binary(max_size=200))
@example(data=b"")
@example(data=b"PK\x05\x06" + bytes(18))
@example(data=b"\x89HDF\r\n\x1a\n" + b"\xff" * 90)
@example(data=b"\x80\x02" + b"(" * 90)
@settings(MANY, max_examples=50)
def test_bytes_of_any_kind_are_read_or_refused(tmp_path: Path, reader: str, data: bytes) -> None:
    _, read, refusals = READERS[reader]
    with refused_or_read(refusals):
        read(data, tmp_path)


@pytest.mark.parametrize("reader", READERS)
def test_whole_files_are_read_within_the_budget(tmp_path: Path, reader: str) -> None:
    wholes, read, refusals = READERS[reader]
    for whole in wholes:
        with refused_or_read(refusals if reader == "a pipeline.config" else ()):
            read(whole, tmp_path)


@given(edit=edits(), by_config=st.booleans())
@MANY
def test_an_edited_training_is_read_or_refused(edit: Callable[[Any], Any], by_config: bool) -> None:  # noqa: FBT001
    document = training(pipelineConfig={"inline": config_text()}) if by_config else training()
    if by_config:
        for field in ("model", "dataset", "steps", "batchSize"):
            document["spec"].pop(field)
    with refused_or_read((InvalidTrainingError, DocumentError)):
        parse_training(parse_yaml(json.dumps(edit(document))))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    commit(open_folder(path.as_uri()), 10)
    return path / "step-00000010"


@given(edit=edits())
@MANY
def test_a_sealed_manifest_of_anybody_is_read_or_refused(
    checkpoint: Path, edit: Callable[[Any], Any]
) -> None:
    """A folder of another's may have any manifest, with the digest that belongs to it."""
    path = checkpoint / "manifest.json"
    whole = path.read_text()
    document = json.loads(whole)
    document.pop(SEAL)
    document = edit(document)
    path.write_text(json.dumps({**document, SEAL: canonical_digest(document)}))
    try:
        with refused_or_read((TrainerError,)):
            list_checkpoints(open_folder(checkpoint.parent.as_uri()))
            read_export(open_folder(checkpoint.as_uri()))
            found = find_checkpoint(open_folder(checkpoint.as_uri()))
            weights = CheckpointWeights(found)
            weights.read(weights.shapes)
            found.verify()
            found.load()
    finally:
        path.write_text(whole)


@given(edit=edits())
@MANY
def test_edited_metrics_are_read_or_left_out(tmp_path: Path, edit: Callable[[Any], Any]) -> None:
    document = edit({"step": 10, "metrics": {"mAP": 0.5, "a/b": 1}})
    (tmp_path / "metrics.json").write_text(json.dumps(document))
    with refused_or_read(()):
        read_metrics(open_folder(tmp_path.as_uri()))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("bundle")
    tensors = {f"model/layer-{i}/kernel": np.ones((2, 3), np.float32) for i in range(9)}
    write_bundle(folder / "ckpt-1", {**tensors, "step": np.array(5, np.int64)})
    return (folder / "ckpt-1.index").read_bytes()


@pytest.mark.parametrize("sealed", [True, False], ids=["checksums that fit", "as it is"])
@given(damage=several())
@MANY
def test_a_damaged_index_of_tensorflow_is_read_or_refused(
    tmp_path: Path,
    index: bytes,
    damage: Damage,
    sealed: bool,  # noqa: FBT001
) -> None:
    footer = index[-48:]
    data = damage(index[:-53]) + index[-53:-48] + footer if sealed else damage(index)
    (tmp_path / "ckpt-1.index").write_bytes(resealed(data) if sealed else data)
    (tmp_path / "ckpt-1.data-00000-of-00001").write_bytes(bytes(400))
    (tmp_path / "checkpoint").write_bytes(damage(b'model_checkpoint_path: "ckpt-1"\n'))
    with refused_or_read((TrainerError,)):
        find_bundle(tmp_path.as_uri(), {})
    with refused_or_read((TrainerError,)):
        bundle = open_bundle(open_folder(tmp_path.as_uri()), "ckpt-1")
        for name in bundle.tensors:
            bundle.read(name)


def resealed(data: bytes) -> bytes:
    """Return the first block of an index with a checksum that fits, where it has a place."""
    end = data.rfind(b"\0\0\0\0\1\0\0\0", 0, len(data) - 60)
    if end < 0:
        return data
    block = data[: end + 9]
    return block + struct.pack("<I", masked_crc32c(block)) + data[end + 13 :]
