"""What the quick commands rest on must not import TensorFlow."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["storage", "data.dataset", "data.label_map"])
def test_no_tensorflow(module: str) -> None:
    program = f"import sys, detection_trainer.{module}; sys.exit('tensorflow' in sys.modules)"
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", program], check=False, env=environment).returncode
        == 0
    )
