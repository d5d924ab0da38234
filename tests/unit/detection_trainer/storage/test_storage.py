"""Folders: what every storage promises, and how each failure is named."""

import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import obstore
import pytest
from obstore import exceptions
from obstore.store import MemoryStore

from detection_trainer.errors import (
    AccessDeniedError,
    InvalidConfigError,
    NotFoundError,
    StorageFullError,
    StorageUnavailableError,
    TrainerError,
)
from detection_trainer.storage import (
    PIECE_BYTES,
    Folder,
    Pieces,
    open_folder,
    open_parent,
    split_uri,
)
from detection_trainer.storage.local import LocalFiles
from detection_trainer.storage.objects import ObjectStorage, explain_object_error
from detection_trainer.storage.places import choose_credentials


@pytest.fixture(params=["file", "object"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "file":
        return open_folder((tmp_path / "runs/trees").as_uri())
    storage = ObjectStorage(MemoryStore(), "memory://bucket")
    return Folder(store=storage, uri="memory://bucket/runs/trees", key="runs/trees")


def paths(folder: Folder, prefix: str = "", **options: bool) -> list[str]:
    return [entry.path for entry in folder.list(prefix, **options)]


def test_a_folder_without_any_write_is_empty(folder: Folder) -> None:
    assert folder.list() == []
    assert not folder.exists("owner.json")


@pytest.mark.parametrize("kind", ["bytes", "file", "path"])
def test_what_is_written_is_read_back(folder: Folder, tmp_path: Path, kind: str) -> None:
    content = b"weights" * 1000
    source = tmp_path / "source"
    source.write_bytes(content)
    data: Any = {"bytes": content, "file": io.BytesIO(content), "path": source}[kind]
    folder.write("step-1/model", data)
    assert folder.read("step-1/model") == content
    assert folder.child("step-1").read("model") == content
    assert folder.head("step-1/model").size == len(content)


@pytest.mark.parametrize("size", [0, 1000, PIECE_BYTES, 2 * PIECE_BYTES + 5])
def test_what_is_in_pieces_is_one_file(folder: Folder, size: int) -> None:
    content = np.random.default_rng(size).bytes(size)
    pieces = Pieces([memoryview(content[:7]), memoryview(content[7:])])
    assert pieces.size == size
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)
    folder.write("model", pieces)
    assert folder.head("model").size == size
    assert folder.read_large("model") == folder.read("model") == content


def test_writing_again_replaces(folder: Folder) -> None:
    folder.write("a", b"old")
    folder.write("a", b"new")
    assert folder.read("a") == b"new"


def test_create_refuses_to_replace(folder: Folder) -> None:
    folder.write("attempts/1", b"first", create=True)
    with pytest.raises(FileExistsError):
        folder.write("attempts/1", b"second", create=True)
    assert folder.read("attempts/1") == b"first"


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        pytest.param(2, 3, b"234", id="a piece from the middle"),
        pytest.param(8, 5, b"89", id="fewer bytes at the end"),
        pytest.param(10, 1, b"", id="nothing at the end"),
        pytest.param(3, 0, b"", id="nothing if nothing is requested"),
    ],
)
def test_ranges(folder: Folder, start: int, length: int, expected: bytes) -> None:
    folder.write("a", b"0123456789")
    assert folder.read_range("a", start, length) == expected


def test_listing_filters_by_the_beginning_of_the_path(folder: Folder) -> None:
    for path in ("step-1/model", "step-1/deep/er", "step-2/model", "owner.json"):
        folder.write(path, b"x")
    assert paths(folder) == ["owner.json", "step-1/deep/er", "step-1/model", "step-2/model"]
    assert paths(folder, "step-") == ["step-1/deep/er", "step-1/model", "step-2/model"]
    assert paths(folder, "step-1/") == ["step-1/deep/er", "step-1/model"]
    assert paths(folder, "step-1/m") == ["step-1/model"]
    assert paths(folder.child("step-1")) == ["deep/er", "model"]
    assert paths(folder, recursive=False) == ["owner.json"]
    assert paths(folder.child("step-1"), recursive=False) == ["model"]


def test_entries_have_size_time_and_a_tag_that_changes(folder: Folder) -> None:
    folder.write("a", b"12")
    (before,) = folder.list()
    folder.write("a", b"123")
    (after,) = folder.list()
    assert (before.size, after.size) == (2, 3)
    assert before.etag != after.etag
    assert after.modified.tzinfo is not None


def test_deleted_is_gone(folder: Folder) -> None:
    folder.write("step-1/model", b"x")
    folder.delete("step-1/model")
    assert not folder.exists("step-1/model")
    assert folder.list() == []


def test_a_download_is_a_local_copy(folder: Folder, tmp_path: Path) -> None:
    folder.write("a", b"x" * 100)
    folder.download("a", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"x" * 100


@pytest.mark.parametrize(
    "access",
    [
        pytest.param(lambda folder: folder.read("none"), id="read"),
        pytest.param(lambda folder: folder.read_range("none", 0, 4), id="read a range"),
        pytest.param(lambda folder: folder.head("none"), id="head"),
        pytest.param(lambda folder: folder.download("none", Path(os.devnull)), id="download"),
    ],
)
def test_a_missing_file_is_named(folder: Folder, access: Callable[[Folder], object]) -> None:
    with pytest.raises(NotFoundError, match=r"runs/trees/none"):
        access(folder)


# Files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = open_folder(tmp_path.as_uri())
    folder.write("a", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFullError, match="No space left"):
        folder.write("a", b"new")
    assert folder.read("a") == b"old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        pytest.param(errno.ENOSPC, StorageFullError, id="a full disk"),
        pytest.param(errno.EDQUOT, StorageFullError, id="a used-up quota"),
        pytest.param(errno.EROFS, AccessDeniedError, id="a read-only mount"),
        pytest.param(errno.EACCES, AccessDeniedError, id="a folder of another user"),
        pytest.param(errno.EPERM, AccessDeniedError, id="a forbidden operation"),
        pytest.param(errno.ENOENT, NotFoundError, id="a vanished mount"),
        pytest.param(errno.EIO, StorageUnavailableError, id="a failing disk"),
        pytest.param(errno.ESTALE, StorageUnavailableError, id="a stale network mount"),
    ],
)
def test_codes_of_the_operating_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, expected: type[TrainerError]
) -> None:
    folder = open_folder(tmp_path.as_uri())

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(expected, match=str(tmp_path)):
        folder.write("a", b"x")
    with pytest.raises(expected):
        folder.read_range("a", 0, 1)


def test_the_remains_of_a_killed_write_are_not_listed_and_are_deleted_with_the_file(
    tmp_path: Path,
) -> None:
    folder = open_folder(tmp_path.as_uri())
    folder.write("step-1/model[1]", b"x")
    (tmp_path / "step-1/.model[1].0123456789ab.partial").write_bytes(b"half")
    assert paths(folder) == ["step-1/model[1]"]
    folder.delete("step-1/model[1]")
    assert list(tmp_path.iterdir()) == []


def test_deleting_a_missing_local_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_folder(tmp_path.as_uri()).delete("none")


def test_create_works_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no hard links")

    monkeypatch.setattr(os, "link", refuse)
    folder = open_folder(tmp_path.as_uri())
    folder.write("a", b"first", create=True)
    with pytest.raises(FileExistsError):
        folder.write("a", b"second", create=True)
    assert folder.read("a") == b"first"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_file_in_place_of_a_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"")
    folder = open_folder((tmp_path / "runs").as_uri())
    with pytest.raises(NotFoundError, match="a file exists where a folder was expected"):
        folder.write("a", b"x")
    assert folder.list() == []


def test_linked_files_are_listed_as_mounted_config_maps_have_them(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    (tmp_path / "..data/labels").write_bytes(b"12345")
    (tmp_path / "labels").symlink_to("..data/labels")
    (entry,) = open_folder(tmp_path.as_uri()).list("labels")
    assert entry.size == 5


def test_spaces_in_file_uris(tmp_path: Path) -> None:
    place = tmp_path / "my data"
    folder = open_folder(place.as_uri())
    folder.write("a", b"x")
    assert (place / "a").read_bytes() == b"x"
    assert folder.local_path("a") == place / "a"


# Addresses and credentials


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b/", ("s3", "bucket", "a/b")),
        ("gs://bucket", ("gs", "bucket", "")),
        ("az://container/x", ("az", "container", "x")),
        ("file:///tmp/x", ("file", "", "tmp/x")),
    ],
)
def test_addresses(uri: str, expected: tuple[str, str, str]) -> None:
    assert split_uri(uri) == expected


@pytest.mark.parametrize("uri", ["", "/data/x", "http://x/y", "s3:///x", "file://host/x", "s3:/b"])
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(InvalidConfigError, match="received"):
        split_uri(uri)


def test_the_longest_prefix_of_whole_segments_wins() -> None:
    places = {"s3://": Path("any"), "s3://b": Path("bucket"), "s3://b/deep/": Path("deep")}
    assert choose_credentials("s3://b/deep/x", places) == Path("deep")
    assert choose_credentials("s3://b/other", places) == Path("bucket")
    assert choose_credentials("s3://bb/x", places) == Path("any")
    assert choose_credentials("gs://b", places) is None


@pytest.mark.parametrize("uri", ["s3://b/deep", "s3://b/deep/"])
@pytest.mark.parametrize("prefix", ["s3://b/deep", "s3://b/deep/"])
def test_a_slash_at_the_end_makes_no_difference(uri: str, prefix: str) -> None:
    places = {"s3://b": Path("bucket"), prefix: Path("deep")}
    assert choose_credentials(uri, places) == Path("deep")
    assert choose_credentials("s3://b/", {"s3://b/": Path("bucket")}) == Path("bucket")


def test_a_name_that_no_file_can_have_is_absent(tmp_path: Path) -> None:
    folder, name = open_folder(tmp_path.as_uri()), "step-\ud800"
    assert not folder.exists(name)
    for read in (folder.read, lambda name: folder.read_small(name, 10)):
        with pytest.raises(NotFoundError, match="no file can have this name"):
            read(name)


@pytest.fixture
def headers() -> Iterator[list[Any]]:
    """Serve any object on this machine; give the headers of the requests."""
    asked: list[Any] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers)
            self.send_response(200)
            self.send_header("Content-Length", "1")
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", self.date_time_string())
            self.end_headers()
            self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        asked.append(server.server_port)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("keys", "token"),
    [
        pytest.param({}, None, id="the environment's is not taken"),
        pytest.param({"AWS_SESSION_TOKEN": "own"}, "own", id="its own is"),
    ],
)
def test_a_session_token_is_used_only_with_its_own_key(
    headers: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    keys: dict[str, str],
    token: str | None,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of another key")
    places = secret(
        tmp_path / "keys",
        AWS_ACCESS_KEY_ID="me",
        AWS_SECRET_ACCESS_KEY="hush",
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{headers.pop()}",
        **keys,
    )
    assert open_folder("s3://b", places).read("a") == b"x"
    assert "Credential=me/" in headers[0]["Authorization"]
    assert headers[0]["x-amz-security-token"] == token


def test_a_rotated_key_is_used_for_the_next_requests(headers: list[Any], tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{headers.pop()}"
    keys = {"AWS_SECRET_ACCESS_KEY": "hush", "AWS_ENDPOINT_URL": endpoint}
    old = {**keys, "AWS_ACCESS_KEY_ID": "old", "AWS_SESSION_TOKEN": "brief"}
    mount(tmp_path / "keys", **old)
    folder = open_folder("s3://b", {"s3://b": tmp_path / "keys"})
    folder.read("a")
    assert "Credential=old/" in headers[-1]["Authorization"]
    assert headers[-1]["x-amz-security-token"] == "brief"
    mount(tmp_path / "keys", **keys, AWS_ACCESS_KEY_ID="new")
    deadline = time.monotonic() + 10
    while "Credential=new/" not in headers[-1]["Authorization"]:
        assert time.monotonic() < deadline
        folder.read("a")
    assert headers[-1]["x-amz-security-token"] is None, "the token belongs to the old key"
    (tmp_path / "keys/..data").unlink()
    folder.read("a")
    assert "Credential=new/" in headers[-1]["Authorization"], "the last key that was there"


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        pytest.param(
            {"AZURE_STORAGE_ACCOUNT_KEY": "b2xk"},
            {"AZURE_STORAGE_ACCOUNT_KEY": "bmV3"},
            "SharedKey me:",
            id="an account's key",
        ),
        pytest.param(
            {"AZURE_STORAGE_SAS_TOKEN": "sv=1&sig=old"},
            {"AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=new"},
            None,
            id="a shared access signature",
        ),
    ],
)
def test_a_rotated_key_of_azure_is_used_for_the_next_requests(
    headers: list[Any], tmp_path: Path, old: dict[str, str], new: dict[str, str], seen: str | None
) -> None:
    endpoint = f"http://127.0.0.1:{headers.pop()}"
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_ENDPOINT": endpoint}
    mount(tmp_path / "keys", **account, **old)
    folder = open_folder("az://box", {"az://box": tmp_path / "keys"})
    folder.read("a")
    assert (headers[-1]["Authorization"] or "").startswith(seen or "")
    assert isinstance(folder.store, ObjectStorage)
    provide = folder.store.store.credential_provider
    before = provide()
    mount(tmp_path / "keys", **account, **new)
    after = provide()
    [name] = before.keys() - {"expires_at"}
    assert (before[name], after[name]) == (
        next(iter(old.values())),
        next(iter(new.values())).removeprefix("?"),
    )


def mount(directory: Path, **keys: str) -> None:
    """Write a Secret as the kubelet does: a new folder, then one link that is replaced."""
    version = directory / f"..{len(list(directory.glob('..*')))}"
    version.mkdir(parents=True)
    for name, value in keys.items():
        (version / name).write_text(value)
        link = directory / name
        if not link.is_symlink():
            link.symlink_to(Path("..data", name))
    new = directory / "..data_tmp"
    new.symlink_to(version.name)
    new.rename(directory / "..data")


def test_a_file_is_opened_with_its_own_credentials_not_its_folders(tmp_path: Path) -> None:
    of_bucket = secret(tmp_path / "bucket", AWS_ACCESS_KEY_ID="all", AWS_SECRET_ACCESS_KEY="x")[
        "s3://b"
    ]
    of_file = secret(tmp_path / "file", AWS_ACCESS_KEY_ID="one", AWS_SECRET_ACCESS_KEY="x")[
        "s3://b"
    ]
    places = {"s3://b": of_bucket, "s3://b/x/weights.h5": of_file}
    folder, name = open_parent("s3://b/x/weights.h5", places)
    assert (folder.uri, name, config(folder)["access_key_id"]) == ("s3://b/x", "weights.h5", "one")
    assert config(open_parent("s3://b/x/other.h5", places)[0])["access_key_id"] == "all"


def secret(directory: Path, **keys: str) -> dict[str, Path]:
    directory.mkdir()
    for name, value in keys.items():
        (directory / name).write_text(value + "\n")
    return {"s3://b": directory, "gs://b": directory, "az://b": directory}


def config(folder: Folder) -> Any:
    assert isinstance(folder.store, ObjectStorage)
    return folder.store.store.config


def test_keys_are_read_from_the_mounted_secret(tmp_path: Path) -> None:
    places = secret(
        tmp_path / "keys",
        AWS_ACCESS_KEY_ID="me",
        AWS_SECRET_ACCESS_KEY="hush",
        AWS_ENDPOINT_URL="http://storage:7070",
        username="ignored",
    )
    folder = open_folder("s3://b/runs/", places)
    assert (folder.uri, folder.key) == ("s3://b/runs", "runs")
    assert config(folder)["access_key_id"] == "me"
    assert config(folder)["secret_access_key"] == "hush"
    assert folder.store.store.client_options["allow_http"]  # type: ignore[attr-defined]


def test_azure_containers_take_the_account_from_the_secret(tmp_path: Path) -> None:
    places = secret(
        tmp_path / "keys", AZURE_STORAGE_ACCOUNT_NAME="me", AZURE_STORAGE_ACCOUNT_KEY="a2V5"
    )
    assert config(open_folder("az://b/runs", places))["account_name"] == "me"


def test_an_unknown_key_is_named(tmp_path: Path) -> None:
    places = secret(tmp_path / "keys", AWS_ACCES_KEY_ID="me")
    with pytest.raises(InvalidConfigError, match=r"(?i)aws_acces_key_id"):
        open_folder("s3://b/runs", places)


def test_a_secret_without_the_usual_keys_is_reported(tmp_path: Path) -> None:
    with pytest.raises(AccessDeniedError, match="AWS_ACCESS_KEY_ID"):
        open_folder("s3://b/runs", secret(tmp_path / "keys", user="me"))


def test_a_missing_mount_of_the_secret_is_reported(tmp_path: Path) -> None:
    with pytest.raises(AccessDeniedError, match="check the Secret's mount"):
        open_folder("s3://b/runs", {"s3://b": tmp_path / "none"})


def test_google_needs_a_service_account_that_can_be_read(tmp_path: Path) -> None:
    places = secret(tmp_path / "keys", GOOGLE_APPLICATION_CREDENTIALS="{}")
    with pytest.raises(InvalidConfigError, match="GOOGLE_"):
        open_folder("gs://b/runs", places)


def test_an_authority_of_the_environment_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(InvalidConfigError, match=r"none\.pem"):
        open_folder("s3://b/runs")


# Objects


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(
            exceptions.PermissionDeniedError("403"), AccessDeniedError, id="a forbidden object"
        ),
        pytest.param(exceptions.UnauthenticatedError("401"), AccessDeniedError, id="a wrong key"),
        pytest.param(
            exceptions.GenericError("PUT http://169.254.169.254/latest/api/token"),
            AccessDeniedError,
            id="no credentials at all",
        ),
        pytest.param(
            exceptions.GenericError("XMinioStorageFull: no space"), StorageFullError, id="full"
        ),
        pytest.param(
            exceptions.GenericError("PUT http://b/x - status code: 507 Insufficient Storage"),
            StorageFullError,
            id="full by its status",
        ),
        pytest.param(
            exceptions.GenericError("PUT http://b:5507/x in 2.003507158s, after 3 retries"),
            StorageUnavailableError,
            id="a time that reads like a status",
        ),
        pytest.param(
            exceptions.GenericError("error sending request"),
            StorageUnavailableError,
            id="no answer",
        ),
        pytest.param(
            exceptions.GenericError("GET http://b?list - status code: 404 Not Found: NoSuchBucket"),
            NotFoundError,
            id="a listed bucket that does not exist",
        ),
        pytest.param(
            exceptions.GenericError("GET http://b?list - status code: 403 Forbidden: no"),
            AccessDeniedError,
            id="a listed bucket of someone else",
        ),
        pytest.param(ValueError('illegal ".."'), InvalidConfigError, id="no path"),
    ],
)
def test_errors_of_object_storage(error: Exception, expected: type[TrainerError]) -> None:
    explained = explain_object_error(error, "s3://b/x", "writing")
    assert type(explained) is expected
    assert "writing s3://b/x failed" in str(explained)


def test_the_dump_behind_a_message_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise exceptions.GenericError("no\nanswer\n\nDebug source:\nGeneric {")

    monkeypatch.setattr(obstore, "get", fail)
    folder = Folder(store=ObjectStorage(MemoryStore(), "s3://b"), uri="s3://b")
    with pytest.raises(StorageUnavailableError, match=r"reading s3://b/x failed: no answer: it"):
        folder.read("x")


def test_code_and_message_of_a_servers_answer_are_reported_and_no_key() -> None:
    answer = (
        'status code: 403 Forbidden: <?xml version="1.0"?>\n<Error><Code>SignatureDoesNotMatch'
        "</Code><Message>Check your key.</Message><AWSAccessKeyId>me</AWSAccessKeyId></Error>"
    )
    explained = str(explain_object_error(exceptions.GenericError(answer), "s3://b/x", "reading"))
    assert "403 Forbidden: SignatureDoesNotMatch: Check your key:" in explained
    assert "AWSAccessKeyId" not in explained


@pytest.mark.parametrize("uri", ["s3://bucket", "file:///", "s3://bucket/x/"])
def test_the_address_of_a_file_has_a_name(uri: str) -> None:
    with pytest.raises(InvalidConfigError, match="address of a file"):
        open_parent(uri)


def test_a_file_at_the_top_is_in_the_root() -> None:
    folder, name = open_parent("file:///a%20b")
    assert (folder.local_path(name), folder.uri) == (Path("/a b"), "file://")
    folder, name = open_parent("s3://bucket/a%20b")
    assert (folder.uri, folder.key, name) == ("s3://bucket", "", "a%20b")


def test_a_path_that_leaves_the_bucket_is_refused() -> None:
    folder = Folder(store=ObjectStorage(MemoryStore(), "s3://b"), uri="s3://b")
    with pytest.raises(InvalidConfigError, match="check the address"):
        folder.write("../x", b"")


def test_a_download_to_a_full_disk_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = Folder(store=ObjectStorage(MemoryStore(), "s3://b"), uri="s3://b")
    folder.write("x", b"1")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(StorageFullError, match="copy"):
        folder.download("x", tmp_path / "copy")


def test_local_files_are_the_only_ones_on_this_machine(tmp_path: Path) -> None:
    assert LocalFiles(tmp_path).local_path("a") == tmp_path / "a"
    assert Folder(ObjectStorage(MemoryStore(), "s3://b"), "s3://b").local_path("a") is None
