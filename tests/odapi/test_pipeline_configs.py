"""The configurations that ours reads are read by the OD API itself, with the same rates."""

import json
import subprocess
from pathlib import Path

import pytest

from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.contract.schedule import first_cycles, learning_rate
from detection_trainer.contract.spec import Optimizer
from sandbox.environments import locked_python

HERE = Path(__file__).parent
CONFIGS = sorted((HERE.parent / "data/pipeline_configs/supported").glob("*.config"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.stem)
def test_the_rate_is_that_of_the_od_api_at_every_step(config: Path) -> None:
    fields = read_pipeline_config(config.read_text()).fields
    total = fields["steps"]
    steps = [*range(0, total, total // 97), 999, 1000, 1001, total - 1, total]
    python = locked_python("odapi", ["odapi.lock"], alone=["odapi-package.lock"])
    words = [str(word) for word in (python, HERE / "schedules.py", config, *steps)]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    optimizer = Optimizer.model_validate(fields["optimizer"])
    cycles = first_cycles(optimizer.schedule, total)
    ours = [learning_rate(optimizer, cycles, step) for step in steps]
    # The OD API computes in float32.
    assert ours == pytest.approx(told["rates"], rel=2e-5, abs=1e-9)
    assert told["steps"] == total
