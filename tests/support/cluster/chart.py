"""The chart, rendered and installed by the real helm."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[3] / "charts" / "detection-operator"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
Object = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm for the integration tests' cluster; it may fail."""
    return _run("helm", *arguments)


def kubectl(*arguments: str) -> str:
    """Run kubectl for the integration tests' cluster; return what it prints."""
    done = _run("kubectl", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    local = os.environ.get("CLUSTER", "local") != "current"
    driver = (sys.executable, "-m", "local_cluster", program, "--name", "integration")
    command = [*(driver if local else (program,)), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def render(*values: str) -> list[Object]:
    """Return the chart's objects with `values` (each `key=value`) set."""
    settings = [part for value in values for part in ("--set", value)]
    named = ("template", "release", str(CHART), "--namespace", "system", "--kube-version", "1.34.4")
    done = helm(*named, *settings)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def only(objects: list[Object], kind: str) -> Object:
    [found] = [body for body in objects if body["kind"] == kind]
    return found
