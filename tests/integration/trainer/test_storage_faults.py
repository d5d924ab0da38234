"""A real S3 server behind a faulty network: requests are retried, then the fault is reported."""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from detection_trainer.__main__ import main
from detection_trainer.checkpoints.format import (
    Checkpoint,
    Snapshot,
    committed_steps,
    find_checkpoint,
    uncommitted_steps,
    write_checkpoint,
)
from detection_trainer.checkpoints.ownership import Owner, raise_fence, take_ownership
from detection_trainer.contract.dataset import Place
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data.source import fetch_files, find_files
from detection_trainer.errors import (
    AccessDeniedError,
    InvalidConfigError,
    NotFoundError,
    StorageUnavailableError,
    StorageUnsupportedError,
    TrainerError,
)
from detection_trainer.storage import Folder, Pieces, open_folder, places
from sandbox.processes.s3_server import s3_server
from sandbox.samples.datasets import CLASSES, Drawn, write_dataset
from sandbox.samples.trainings import training
from sandbox.site.object_store import write_keys
from tests.support.trainer.faulty_storage import Fault, FaultyStorage
from tests.support.trainer.runs import NOW, description

MANY_BYTES = 40_000_000
"""Three parts of an upload."""


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with s3_server(tmp_path_factory.mktemp("s3")) as port:
        yield port


@pytest.fixture
def storage(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyStorage]:
    """Give the server behind the proxy; a client gives up after two seconds of refusals."""
    monkeypatch.setitem(places._RETRIES, "retry_timeout", timedelta(seconds=2))
    monkeypatch.setitem(places._RETRIES, "max_retries", 3)
    with FaultyStorage(port, tmp_path) as storage:
        yield storage


def save(folder: Folder, step: int, size: int = 16) -> Checkpoint:
    weights = {"backbone/conv/kernel": np.full(size // 4, step, np.float32)}
    state = Snapshot(step, weights, {}, dict.fromkeys(weights, "backbone"))
    shared = description()
    return write_checkpoint(
        folder, state, lambda files, found: shared.manifest(state, files, found), lambda: None
    )


@pytest.mark.parametrize("fault", [503, "cut"])
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(("PUT", "partNumber=2", MANY_BYTES), id="a part of the weights"),
        pytest.param(("POST", "uploadId=", MANY_BYTES), id="the end of an upload in parts"),
        pytest.param(("PUT", "optimizer.safetensors", 16), id="a small file"),
        pytest.param(("PUT", "manifest.json", 16), id="the commit"),
    ],
)
def test_a_fault_that_passes_is_not_seen_and_one_that_stays_leaves_no_checkpoint(
    storage: FaultyStorage, tmp_path: Path, fault: Fault, kind: tuple[str, str, int]
) -> None:
    method, part, size = kind
    folder = storage.folder(f"s3://runs/{tmp_path.name}")
    save(folder, 10)
    storage.fail(fault, method, part, times=1)
    save(folder, 20, size).verify()
    storage.fail(fault, method, part)
    with pytest.raises(StorageUnavailableError, match=r"writing s3://runs/.* failed: .*retries"):
        save(folder, 30, size)
    storage.choose = lambda _: None
    assert committed_steps(folder) == [10, 20]
    assert find_checkpoint(folder).step == 20
    assert set(uncommitted_steps(folder)) <= {30}


@pytest.mark.parametrize(
    ("method", "part"),
    [
        pytest.param("PUT", "partNumber=1", id="the first part"),
        pytest.param("PUT", "partNumber=3", id="the last part"),
        pytest.param("POST", "uploadId=", id="the end"),
    ],
)
def test_a_failed_upload_deletes_its_uploaded_parts(
    storage: FaultyStorage, method: str, part: str
) -> None:
    folder = storage.folder("s3://runs/parts")
    storage.fail(503, method, part)
    with pytest.raises(StorageUnavailableError):
        folder.write("x", Pieces([memoryview(bytes(MANY_BYTES))]))
    assert [r for r in storage.seen if r.startswith("PUT") and "partNumber=2" in r]
    assert [r for r in storage.seen if r.startswith("DELETE") and "uploadId=" in r]


Use = Callable[[FaultyStorage, Path], object]


def restore(storage: FaultyStorage, _: Path) -> None:
    find_checkpoint(storage.folder("s3://runs/there")).load()


def read_dataset(storage: FaultyStorage, tmp_path: Path) -> None:
    credentials = {"s3://": storage.keys}
    storage.folder()
    found = find_files(Place(uri="s3://data/*.tfrecord"), credentials)
    fetch_files(found, tmp_path / "cache")


USES: dict[str, tuple[Use, str, str]] = {
    "list": (lambda storage, _: committed_steps(storage.folder("s3://runs/there")), "GET", "list"),
    "restore": (restore, "GET", "model.safetensors"),
    "read the dataset": (read_dataset, "GET", "x.tfrecord"),
}


@pytest.fixture
def there(port: int, storage: FaultyStorage) -> None:
    del port
    save(storage.folder("s3://runs/there"), 10, 4_000_000)
    storage.folder("s3://data").write("x.tfrecord", bytes(4_000_000))


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("fault", [503, 500, "cut", "cut answer"])
@pytest.mark.parametrize("use", USES)
def test_reading_is_retried_and_then_given_up(
    storage: FaultyStorage, tmp_path: Path, use: str, fault: Fault
) -> None:
    act, method, part = USES[use]
    storage.fail(fault, method, part, times=1)
    act(storage, tmp_path)
    storage.fail(fault, method, part)
    (tmp_path / "again").mkdir()
    with pytest.raises(StorageUnavailableError, match="s3://"):
        act(storage, tmp_path / "again")


@pytest.mark.usefixtures("there")
@pytest.mark.parametrize("use", [*USES, "save"])
@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        pytest.param({"AWS_SECRET_ACCESS_KEY": "expired"}, AccessDeniedError, id="wrong key"),
        pytest.param({"AWS_ACCESS_KEY_ID": "nobody"}, AccessDeniedError, id="unknown key"),
    ],
)
def test_invalid_keys_are_reported_at_once(
    storage: FaultyStorage, wrong: dict[str, str], expected: type[TrainerError], use: str
) -> None:
    folder = storage.folder("s3://runs/there", **wrong)
    act: dict[str, Callable[[], object]] = {
        "save": lambda: save(folder, 20),
        "list": lambda: committed_steps(folder),
        "restore": lambda: find_checkpoint(folder),
        "read the dataset": lambda: find_files(
            Place(uri="s3://data/*.tfrecord"), {"s3://": storage.keys}
        ),
    }
    before = len(storage.seen)
    with pytest.raises(expected, match=r"spec\.credentials"):
        act[use]()
    asked = storage.seen[before:]
    assert len(asked) == len(set(asked)), "nothing is retried"


@pytest.mark.parametrize("what", ["list", "write", "read", "upload in parts"])
def test_a_missing_bucket_is_reported(storage: FaultyStorage, what: str) -> None:
    folder = storage.folder("s3://nowhere/trees")
    act: dict[str, Callable[[], object]] = {
        "list": folder.list,
        "write": lambda: folder.write("a", b"x"),
        "read": lambda: folder.read("a"),
        "upload in parts": lambda: folder.write("a", bytes(MANY_BYTES)),
    }
    with pytest.raises(NotFoundError, match=r"s3://nowhere.*check the address"):
        act[what]()


def test_a_marker_whose_answer_was_lost_is_complete(storage: FaultyStorage) -> None:
    """The server stores the file and the answer is lost: the client fails, or finds the file."""
    folder = storage.folder("s3://runs/markers")
    storage.fail("cut answer", "PUT", "000001", times=1)
    with pytest.raises((FileExistsError, StorageUnavailableError)):
        folder.write("attempts/000001.json", b"x" * 100, create=True)
    assert folder.read("attempts/000001.json") == b"x" * 100


def make_certificates(folder: Path) -> None:
    """Write an authority, and a server's certificate for 127.0.0.1 that it signed."""
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    authority = ["-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=a private authority"]
    server = ["-keyout", "tls.key", "-out", "tls.pem", "-subj", "/CN=127.0.0.1", "-CA", "ca.pem",
              "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
              "basicConstraints=critical,CA:FALSE"]  # fmt: skip
    for words in (authority, server):
        subprocess.run([*new, *words], check=True, capture_output=True, cwd=folder)


def test_a_private_authority_is_trusted_where_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(places._RETRIES, "max_retries", 1)
    make_certificates(tmp_path)
    credentials = {"s3://": tmp_path / "keys"}
    tls = (f"--cert={tmp_path / 'tls.pem'}", f"--key={tmp_path / 'tls.key'}")
    with s3_server(tmp_path / "s3", *tls) as port:
        write_keys(tmp_path / "keys", f"https://127.0.0.1:{port}")
        with pytest.raises(InvalidConfigError, match=r"certificate.*AWS_CA_BUNDLE"):
            open_folder("s3://runs/x", credentials).write("a", b"1")
        (tmp_path / "keys/AWS_CA_BUNDLE").write_text((tmp_path / "ca.pem").read_text())
        folder = open_folder("s3://runs/x", credentials)
        folder.write("a", b"1")
        assert folder.read("a") == b"1"


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("unconditional", "was created twice: the storage ignores conditional create"),
        (501, "the server does not support this request"),
    ],
    ids=["ignored", "not implemented"],
)
def test_a_server_without_conditional_create_gets_no_owner_and_no_start(
    storage: FaultyStorage, tmp_path: Path, fault: Fault, message: str
) -> None:
    folder = storage.folder(f"s3://runs/{tmp_path.name}")
    mine = Owner.of(description().identity, "sha256:" + "1" * 64)
    storage.choose = lambda request: fault if request.method == "PUT" else None
    with pytest.raises(StorageUnsupportedError, match=message):
        take_ownership(folder, mine)
    with pytest.raises(StorageUnsupportedError, match=message):
        raise_fence(folder, None, NOW)
    assert folder.list() == []


def test_a_server_with_conditional_create_is_asked_once_more_for_each_record(
    storage: FaultyStorage, tmp_path: Path
) -> None:
    folder = storage.folder(f"s3://runs/{tmp_path.name}")
    mine = Owner.of(description().identity, "sha256:" + "1" * 64)
    take_ownership(folder, mine)
    take_ownership(folder, mine)
    raise_fence(folder, None, NOW)
    puts = [request.rpartition("/")[2] for request in storage.seen if request.startswith("PUT")]
    assert puts == ["owner.json", "owner.json", "000001.json", "000001.json"]


def test_a_preflight_names_a_server_without_conditional_create(
    storage: FaultyStorage, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data" / "train.tfrecord"
    write_dataset(data, [Drawn(seed=1)])
    storage.folder()
    document = training(
        dataset={"train": {"uri": data.as_uri()}, "classes": list(CLASSES)},
        checkpoints={"storage": {"uri": f"s3://runs/{tmp_path.name}"}},
    )
    file = tmp_path / "training.json"
    file.write_text(json.dumps(document))
    storage.choose = lambda _: "unconditional"
    credentials = json.dumps({"s3://": str(storage.keys)})
    code = main(["preflight", str(file), "--credentials", credentials])
    assert code == ExitCode.STORAGE_UNSUPPORTED
    assert "ignores conditional create" in capfd.readouterr().err
