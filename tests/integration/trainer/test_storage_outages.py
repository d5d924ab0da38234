"""The program itself on a real S3 server that fails in the middle of the run.

In each case it ends by itself, with one message and the exit code of the contract. The next run
resumes from the last complete checkpoint, with the results of an undisturbed run.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from detection_trainer.checkpoints.manifest import FileRecord
from detection_trainer.contract.exit_codes import ExitCode
from sandbox.processes.s3_server import s3_server
from sandbox.samples.trainings import training
from sandbox.site.object_store import keys_for
from tests.support.trainer.attempts import RunPlace, make_place
from tests.support.trainer.faulty_storage import Choose, Fault, FaultyStorage

SAVED, LOST, LAST = 2, "step-00000004/model", 4
"""The checkpoint that is whole, the file with which the fault begins, and the target."""


@dataclass
class Bucket(RunPlace):
    """Runs in a bucket; the server's own folder of it is at hand."""

    port: int = 0

    @property
    def behind(self) -> Path:
        """Where the server keeps the bucket."""
        return self.root / "s3/runs"

    def uri(self, folder: str) -> str:
        """Return the URI of a run's folder."""
        return f"s3://runs/{folder}"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    root = make_place(tmp_path_factory.mktemp("outages")).root
    with s3_server(root / "s3") as port, pytest.MonkeyPatch.context() as patch:
        for name, value in keys_for(f"http://127.0.0.1:{port}").items():
            patch.setenv(name, value)
        yield Bucket(root, port=port)


@pytest.fixture(scope="module")
def undisturbed(bucket: Bucket) -> dict[str, FileRecord]:
    """Return the files of a run that nothing disturbs."""
    bucket.run("undisturbed")
    return dict(bucket.newest("undisturbed").manifest.files)


def from_then_on(fault: Fault) -> Choose:
    """Spoil all requests, beginning with the one that would write `LOST`."""
    begun = False

    def choose(request: web.Request) -> Fault | None:
        nonlocal begun
        begun = begun or (request.method == "PUT" and LOST in request.path_qs)
        return fault if begun else None

    return choose


def gone(bucket: Bucket) -> Choose:
    """Take the bucket away before the request that would commit what `LOST` belongs to.

    The server creates the folder again for a file that arrives then; the commit comes alone.
    """
    commit = LOST.replace("model", "manifest")

    def choose(request: web.Request) -> None:
        if request.method == "PUT" and commit in request.path_qs:
            bucket.behind.rename(bucket.behind.with_name("gone"))

    return choose


def run(bucket: Bucket, folder: str, storage: FaultyStorage) -> tuple[int, list[str]]:
    """Run the program through the proxy; return its exit code and its stderr."""
    file = bucket.root / f"{folder}.json"
    file.write_text(json.dumps(training(**bucket.spec(folder))))
    words = [sys.executable, "-m", "tests.support.programs.impatient_trainer", "run", str(file)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{storage.own_port}",
    }
    ended = subprocess.run(
        words, capture_output=True, text=True, env=environment, check=False, timeout=240
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("detection-trainer:")]
    return ended.returncode, lines


@pytest.mark.parametrize(
    ("fault", "code", "message"),
    [
        pytest.param(503, ExitCode.STORAGE_UNAVAILABLE, "also after retries", id="503"),
        pytest.param("cut", ExitCode.STORAGE_UNAVAILABLE, "also after retries", id="cut"),
        pytest.param("silent", ExitCode.STORAGE_UNAVAILABLE, "also after retries", id="silent"),
        pytest.param("expired", ExitCode.ACCESS_DENIED, "ExpiredToken", id="expired credentials"),
        pytest.param("gone", ExitCode.NOT_FOUND, "check the address", id="bucket gone"),
    ],
)
def test_an_outage_ends_the_run_in_one_sentence_and_costs_no_whole_checkpoint(
    bucket: Bucket, undisturbed: dict[str, FileRecord], fault: Fault, code: ExitCode, message: str
) -> None:
    folder = f"outage-{fault}"
    choose = gone(bucket) if fault == "gone" else from_then_on(fault)
    with FaultyStorage(bucket.port, bucket.root, choose) as storage:
        ended, lines = run(bucket, folder, storage)
    if fault == "gone":
        bucket.behind.with_name("gone").rename(bucket.behind)
    assert ended == code, lines
    assert len(lines) == 1
    assert f"{code.reason}: " in lines[0]
    assert f"s3://runs/{folder}/step-0000000{LAST}" in lines[0]
    assert message in lines[0]
    tries = sum(r.startswith("PUT") and LOST in r for r in storage.seen)
    assert 1 <= tries <= 3
    assert bucket.steps(folder) == [0, SAVED]

    bucket.run(folder)
    assert bucket.logged("started") == [f"resumes from the run's own checkpoint of step {SAVED}"]
    assert bucket.newest(folder).manifest.files == undisturbed
