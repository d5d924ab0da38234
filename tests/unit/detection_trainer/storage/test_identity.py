"""No credentials at all: one sentence within seconds, and the roles of a cloud still work."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from detection_trainer.errors import AccessDeniedError
from detection_trainer.storage import identity, open_folder
from detection_trainer.storage.identity import identity_check
from detection_trainer.storage.objects import ObjectStorage

PLACES = {"s3": "s3://data", "gs": "gs://data", "az": "az://data"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(identity, "_PAUSE_SECONDS", 0)


@pytest.fixture
def closed_port(monkeypatch: pytest.MonkeyPatch) -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{one.getsockname()[1]}"
    monkeypatch.setattr(identity, "_METADATA", endpoint)
    return endpoint


@pytest.fixture
def open_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("s3", "AWS_ACCESS_KEY_ID"),
        ("s3", "AWS_WEB_IDENTITY_TOKEN_FILE"),
        ("s3", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ("gs", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az", "AZURE_STORAGE_ACCOUNT_KEY"),
    ],
)
def test_what_was_looked_for_is_named(closed_port: str, scheme: str, name: str) -> None:
    with pytest.raises(AccessDeniedError) as refused:
        identity_check(scheme, PLACES[scheme], {}, None)()
    message = str(refused.value)
    assert message.startswith(f"{PLACES[scheme]}: there are no credentials: no Secret serves this")
    assert name in message
    assert closed_port in message


def test_a_secret_without_keys_is_named(closed_port: str, tmp_path: Path) -> None:
    del closed_port
    keys = {"AWS_ENDPOINT_URL": "http://storage:7070"}
    with pytest.raises(AccessDeniedError, match=f"keys of the Secret at {tmp_path}"):
        identity_check("s3", "s3://data", keys, tmp_path)()


@pytest.mark.parametrize(
    ("scheme", "name"),
    [(scheme, name) for scheme, cloud in identity._CLOUDS.items() for name in cloud.names],
)
@pytest.mark.parametrize("place", ["environment", "secret"])
def test_an_identity_that_is_given_is_enough(
    closed_port: str, monkeypatch: pytest.MonkeyPatch, scheme: str, name: str, place: str
) -> None:
    del closed_port
    if place == "environment":
        monkeypatch.setenv(name, "x")
    identity_check(scheme, PLACES[scheme], {name: "x"} if place == "secret" else {}, None)()


def test_a_login_of_gcloud_is_enough(closed_port: str, tmp_path: Path) -> None:
    del closed_port
    file = tmp_path / identity._GOOGLE_LOGIN
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    identity_check("gs", "gs://data", {}, None)()


def test_a_role_of_the_machine_is_enough(open_port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_METADATA", open_port)
    identity_check("s3", "s3://data", {}, None)()


def test_another_metadata_service_can_be_named(closed_port: str, open_port: str) -> None:
    del closed_port
    identity_check("s3", "s3://data", {"AWS_METADATA_ENDPOINT": open_port}, None)()


def test_a_service_that_comes_late_is_found(
    monkeypatch: pytest.MonkeyPatch, closed_port: str, open_port: str
) -> None:
    address = open_port.rpartition(":")[2]
    monkeypatch.setattr(identity, "_METADATA", open_port)
    connect, ports = socket.create_connection, [int(closed_port.rpartition(":")[2]), int(address)]

    def late(_: object, timeout: float) -> socket.socket:
        return connect(("127.0.0.1", ports.pop(0)), timeout=timeout)

    monkeypatch.setattr(socket, "create_connection", late)
    identity_check("s3", "s3://data", {}, None)()
    assert ports == []


def test_a_request_without_credentials_is_refused_before_it_is_made(closed_port: str) -> None:
    del closed_port
    folder = open_folder("s3://data/trees")
    assert isinstance(folder.store, ObjectStorage)
    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        folder.read("owner.json")
    with pytest.raises(AccessDeniedError, match="there are no credentials"):
        list(folder.list())
