"""Folders of runs that ask for much: records of any size and depth.

Each is refused with what was received and the limit, after little work and in little memory.
"""

import json
from pathlib import Path

import pytest

from detection_trainer.checkpoints.format import find_checkpoint, read_manifest, read_metrics
from detection_trainer.checkpoints.manifest import MAX_MANIFEST_BYTES
from detection_trainer.checkpoints.ownership import read_owner
from detection_trainer.errors import (
    DamagedCheckpointError,
    StorageInUseError,
)
from detection_trainer.storage import open_folder
from tests.support.trainer.fuzzing import effort
from tests.support.trainer.runs import commit

MEGABYTE = 1 << 20


@pytest.fixture
def run(tmp_path: Path) -> Path:
    commit(open_folder(tmp_path.as_uri()), 10)
    return tmp_path


def test_large_records_of_a_run_are_not_read(run: Path) -> None:
    place = open_folder(run.as_uri()).child("step-00000010")
    for name in ("manifest.json", "metrics.json"):
        with (run / "step-00000010" / name).open("wb") as file:
            file.truncate(1 << 40)
    with (run / "owner.json").open("wb") as file:
        file.truncate(1 << 40)
    with effort(10_000, MEGABYTE):
        with pytest.raises(DamagedCheckpointError, match=f"at most {MAX_MANIFEST_BYTES} bytes"):
            read_manifest(place)
        assert read_metrics(place) is None
        with pytest.raises(StorageInUseError, match="no owner record"):
            read_owner(open_folder(run.as_uri()))


@pytest.mark.parametrize("deep", ["[" * 9000, '{"a":' * 300 + "1" + "}" * 300])
def test_deep_records_of_a_run_are_refused(run: Path, deep: str) -> None:
    place = open_folder(run.as_uri()).child("step-00000010")
    for name in ("manifest.json", "metrics.json"):
        (run / "step-00000010" / name).write_text(deep)
    with effort(100_000):
        with pytest.raises(DamagedCheckpointError, match="at most 64 levels deep"):
            read_manifest(place)
        assert read_metrics(place) is None


def test_a_file_of_weights_larger_than_in_its_manifest_is_not_read(run: Path) -> None:
    checkpoint = find_checkpoint(open_folder(run.as_uri()))
    with (run / "step-00000010/model.safetensors").open("r+b") as file:
        file.truncate(1 << 40)
    with effort(10_000, MEGABYTE), pytest.raises(DamagedCheckpointError, match="received 10995116"):
        checkpoint.load()


def test_a_manifest_that_names_files_elsewhere_is_refused(run: Path) -> None:
    path = run / "step-00000010/manifest.json"
    document = json.loads(path.read_text())
    document.pop("sha256")
    document["files"]["../../etc/passwd"] = document["files"]["model.safetensors"]
    path.write_text(json.dumps(document))
    with pytest.raises(DamagedCheckpointError, match="expected files in the manifest's folder"):
        find_checkpoint(open_folder(run.as_uri()))
