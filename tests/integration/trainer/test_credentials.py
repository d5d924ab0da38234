"""Each location uses the Secret of its longest prefix: a real server refuses all other keys."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from detection_trainer.commands.pipeline_file import read_config_text
from detection_trainer.errors import AccessDeniedError, NotFoundError
from detection_trainer.options import Options
from detection_trainer.preflight import run_preflight
from detection_trainer.storage import open_folder
from local_cluster.binaries import S3_SERVER, ensure_binary
from sandbox.processes.s3_server import s3_server
from sandbox.site.object_store import ACCESS_KEY, SECRET_KEY, keys_for, write_keys
from tests.support.trainer.attempts import RunPlace, make_place
from tests.support.trainer.runs import parsed

LABELS = 'item {id: 1 name: "tree"}\nitem {id: 2 name: "shrub"}\n'


@dataclass
class Server:
    """A server with one user for each of its two buckets, and the keys of each."""

    data: Path
    runs: Path

    def credentials(self, **more: Path) -> dict[str, Path]:
        """Return the prefixes of a training that reads from one and writes to the other."""
        return {"s3://data": self.data, "s3://runs/": self.runs, **more}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("users")
    (root / "iam").mkdir()
    users = {
        f"{name}-user": {"access": f"{name}-user", "secret": f"{name}-secret", "role": "user"}
        for name in ("data", "runs")
    }
    (root / "iam/users.json").write_text(json.dumps({"accessAccounts": users}))
    with s3_server(root / "s3", f"--iam-dir={root / 'iam'}") as port:
        url = f"http://127.0.0.1:{port}"
        for name in ("data", "runs"):
            keys = {"AWS_ACCESS_KEY_ID": f"{name}-user", "AWS_SECRET_ACCESS_KEY": f"{name}-secret"}
            write_keys(root / name, url, **keys)
            admin = [f"--access={ACCESS_KEY}", f"--secret={SECRET_KEY}", f"--endpoint-url={url}"]
            words = ["change-bucket-owner", f"--bucket={name}", f"--owner={name}-user"]
            subprocess.run([ensure_binary(S3_SERVER), "admin", *admin, *words], check=True)
        yield Server(root / "data", root / "runs")


@pytest.fixture
def place(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunPlace:
    """Give a place whose data are in a bucket, without keys in the environment."""
    for name in keys_for(""):
        monkeypatch.delenv(name, raising=False)
    place = make_place(tmp_path)
    data = open_folder("s3://data", server.credentials())
    data.write("labels.pbtxt", LABELS.encode())
    data.write("train.tfrecord", tmp_path / "train.tfrecord")
    return place


def spec(name: str, **changes: Any) -> dict[str, Any]:
    records = {"uri": "s3://data/*.tfrecord"}
    return {
        "name": name,
        "dataset": {
            "train": records,
            "validation": records,
            "labelMap": {"uri": "s3://data/labels.pbtxt"},
        },
        "checkpoints": {"storage": {"uri": f"s3://runs/{name}"}},
        "steps": 1,
        **changes,
    }


def test_no_user_gets_into_the_bucket_of_the_other(server: Server) -> None:
    for keys, bucket in ((server.data, "runs"), (server.runs, "data")):
        with pytest.raises(AccessDeniedError, match=r"403.*spec\.credentials"):
            open_folder(f"s3://{bucket}", {"s3://": keys}).list()


def test_a_run_uses_for_each_location_the_keys_of_that_location(
    server: Server, place: RunPlace, tmp_path: Path
) -> None:
    options = Options(credentials=server.credentials(), cache_dir=tmp_path / "cache")
    place.run("first", options=options, **spec("first"))
    # Another user takes the run: only that user may read its folder.
    run, handed = (open_folder(u, server.credentials()) for u in ("s3://runs/first", "s3://data/x"))
    for entry in run.list("step-00000001/"):
        handed.write(entry.path.partition("/")[2], run.read(entry.path))
    source = {"uri": "s3://data/x"}
    restore = {"mode": "full", "from": source}
    place.run("second", options=options, **spec("second", restore=restore))
    assert "s3://data/x" in place.logged("started")[0]

    # Exactly this folder and these files: a prefix gives no right to what is above it.
    named = ("s3://data/x", "s3://data/labels.pbtxt", "s3://data/*.tfrecord")
    narrow = Options(credentials={"s3://runs": server.runs} | dict.fromkeys(named, server.data))
    for start in ({"restore": restore}, {"continueFrom": source, "steps": 2}):
        run_preflight(parsed(**spec("third", **start)), narrow, tmp_path / "again")


def test_a_pipeline_config_is_read_with_the_keys_of_its_own_uri(server: Server) -> None:
    uri = "s3://data/odapi/pipeline.config"
    open_folder("s3://data/odapi", server.credentials()).write("pipeline.config", b"model { }")
    assert read_config_text(uri, {"s3://": server.runs, uri: server.data}) == "model { }"
    with pytest.raises(AccessDeniedError, match=rf"{uri}.*403.*spec\.credentials"):
        read_config_text(uri, {"s3://": server.runs})
    with pytest.raises(NotFoundError, match=r"s3://data/odapi/other: .* no such object"):
        read_config_text("s3://data/odapi/other", server.credentials())
