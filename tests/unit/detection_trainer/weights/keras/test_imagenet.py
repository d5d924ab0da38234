"""`keras://…/imagenet` through Keras' own download, from a host on loopback instead of Keras'."""

import gc
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import StorageUnavailableError
from detection_trainer.weights.keras.imagenet import KerasWeights
from detection_trainer.weights.restore import restore
from tests.support.trainer.detectors import small_detector

FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
URI = "keras://mobilenet_v2/imagenet"


@dataclass
class Host:
    """Where Keras believes its public storage to be."""

    folder: Path
    url: str = ""
    asked: list[str] = field(default_factory=list)


class Files(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *words: object, host: Host) -> None:
        self.host = host
        super().__init__(*words, directory=str(host.folder))  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.host.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def served(folder: Path) -> Iterator[Host]:
    """Serve the files in `folder`."""
    host = Host(folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, host=host)) as server:
        host.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield host
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with MobileNetV2's file, its numbers drawn."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None)
    random = np.random.default_rng(3)
    for variable in network.variables:
        variable.assign(random.uniform(0.5, 1.5, tuple(variable.shape)))
    folder = tmp_path_factory.mktemp("theirs")
    with h5py.File(folder / FILE, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    return tmp_path / "models"


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.BASE_WEIGHT_PATH", url)


def test_weights_are_downloaded_once_and_then_found_in_the_cache(
    theirs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    detector = small_detector(backbone="mobilenet_v2", fpn={"additionalLayerDepth": 8})
    with served(theirs) as host:
        use(host.url, monkeypatch)
        first = restore(detector, RestoreMode.CLASSIFICATION, KerasWeights(URI))
    assert host.asked == [f"/{FILE}"]
    assert capfd.readouterr().out == "", "standard output has one JSON object a line"
    with h5py.File(theirs / FILE) as file:
        kernel = file["Conv1/Conv1/kernel"][()]
    assert np.array_equal(detector.variables["backbone/Conv1/kernel"].numpy(), kernel)
    assert (cache / FILE).read_bytes() == (theirs / FILE).read_bytes()
    # No server listens on this port any more.
    second = restore(detector, RestoreMode.CLASSIFICATION, KerasWeights(URI))
    assert second == first
    assert first.digest is not None


def failure(uri: str, backbone: str) -> str:
    detector = small_detector(backbone=backbone, fpn={"additionalLayerDepth": 8})
    with pytest.raises(StorageUnavailableError) as caught:
        restore(detector, RestoreMode.CLASSIFICATION, KerasWeights(uri))
    return str(caught.value)


def test_without_a_network_the_ways_that_need_none_are_named(
    theirs: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(theirs) as host:
        use(host.url, monkeypatch)
    message = failure(URI, "mobilenet_v2")
    assert f"URL fetch failure on {host.url}{FILE}" in message
    assert "Connection refused" in message
    assert "KERAS_HOME/models" in message
    assert "restore.from.uri (s3://zoo/….h5)" in message
    assert not (cache / FILE).exists(), "the next attempt must try again"


def test_a_host_without_the_file_is_reported_with_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as host:
        use(host.url, monkeypatch)
        assert f"{host.url}{FILE}: 404" in failure(URI, "mobilenet_v2")
    # A connection left open would warn here, and the warning fail the test.
    gc.collect()


def test_a_file_that_is_not_the_published_one_is_refused_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "efficientnetb0_notop.h5"
    (tmp_path / name).write_bytes(b"something else")
    with served(tmp_path) as host:
        monkeypatch.setattr("keras.src.applications.efficientnet.BASE_WEIGHTS_PATH", host.url)
        for _ in range(2):
            message = failure("keras://efficientnet_b0/imagenet", "efficientnet_b0")
            assert "Incomplete or corrupted file detected" in message
    assert host.asked == [f"/{name}"] * 2
