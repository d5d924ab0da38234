"""The configurations that ours reads are read by the OD API itself, with the same rates."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.contract.schedule import first_cycles, learning_rate
from sandbox.processes.environments import locked_python

HERE = Path(__file__).parent
CONFIGS = sorted((HERE.parent / "data/pipeline_configs/supported").glob("*.config"))


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    """What the OD API makes of each."""
    python = locked_python("odapi", ["odapi.lock"], alone=["odapi-package.lock"])
    words = [str(word) for word in (python, HERE / "schedules.py", *CONFIGS)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=900, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_the_rate_is_that_of_the_od_api_at_every_step(
    config: Path, reference: dict[str, Any]
) -> None:
    fields, theirs = read_pipeline_config(config.read_text()).fields, reference[config.stem]
    assert fields["steps"] == theirs["steps"]
    optimizer = Optimizer.model_validate(fields["optimizer"])
    cycles = first_cycles(optimizer.schedule, fields["steps"])
    ours = {step: learning_rate(optimizer, cycles, int(step)) for step in theirs["rates"]}
    # The OD API computes in float32, whose cosine near the end has an error of 6e-8.
    assert ours == pytest.approx(theirs["rates"], rel=2e-5, abs=1e-8)
