import os
import subprocess
import sys
from pathlib import Path

import pytest

import detection_trainer
from detection_trainer.run.process import prepare_process

FAULTS = """
import resource
{prepare}

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        b"x" * 2**26
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


def test_onednn_is_chosen_on_every_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    prepare_process()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "1"


def test_settings_of_the_environment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"TF_ENABLE_ONEDNN_OPTS": "0"})
    prepare_process()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"


def test_freed_memory_is_reused_and_not_zeroed_again() -> None:
    pages = 20 * 2**26 // 4096
    assert _faults("") > pages // 2
    prepare = "from detection_trainer.run.process import prepare_process; prepare_process()"
    assert _faults(prepare) < pages // 100


def _faults(prepare: str) -> int:
    """Return the page faults of 20 texts of 64 MiB, made one after the other."""
    program = FAULTS.format(prepare=prepare)
    environment = {**os.environ, "PYTHONPATH": str(Path(detection_trainer.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)
