"""Several devices in one process, as a pod with several GPUs has them."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.timeout(600)
def test_two_devices_train_as_one_does_and_have_equal_bits() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "tests.support.programs.two_devices"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["trained"] > 100, "20 steps change more than what is compared to"
    assert found["twoDevices"] <= 1.0
    assert found["rowsTurned"] <= 1.0
    assert found["copiesAreEqual"]
