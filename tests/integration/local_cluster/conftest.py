"""A cluster that these tests may break: nodes die in it, programs are stopped."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from local_cluster import api, images, lifecycle

CLUSTER_NAME = "trial"
WAIT_TIMEOUT = "120s"
POD_TIMEOUT_S = 120


def drive(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the driver as a person does."""
    command = [sys.executable, "-m", "local_cluster", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"{' '.join(command)}: {done.stderr}"
    return done


@dataclass(frozen=True)
class Trial:
    """The cluster, as kubectl and the driver reach it."""

    name: str
    image: str
    """An image with Python and a shell."""

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return drive("kubectl", "--name", self.name, *arguments, check=check).stdout

    def apply(self, *documents: dict[str, Any]) -> None:
        """Create or replace objects in their namespace, or in the default one."""
        command = [sys.executable, "-m", "local_cluster", "kubectl", "--name", self.name]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        done = subprocess.run(
            [*command, "apply", "-f", "-"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    def wait(self, target: str, condition: str) -> None:
        self.kubectl("wait", target, f"--for={condition}", f"--timeout={WAIT_TIMEOUT}")

    def run_to_end(self, document: dict[str, Any]) -> str:
        """Run a pod until it succeeds; return its log, and remove it."""
        name = f"pod/{document['metadata']['name']}"
        self.apply(document)
        api.wait_until(
            f"{name} ended",
            lambda: self.phase(name) in {"Succeeded", "Failed"},
            timeout_s=POD_TIMEOUT_S,
            remedy="see the log of the pod",
            explain=lambda: f": {self.kubectl('describe', name)}",
        )
        log = self.kubectl("logs", name)
        assert self.phase(name) == "Succeeded", f"{name} failed; its log: {log}"
        self.kubectl("delete", name, "--wait=false")
        return log

    def phase(self, name: str) -> str:
        return self.kubectl("get", name, "-o", "jsonpath={.status.phase}")

    @property
    def running(self) -> lifecycle.Running:
        return lifecycle.load_up(self.name)

    def pod(self, name: str, script: str, **spec: Any) -> dict[str, Any]:
        """Return a pod that passes the restricted Pod Security level and runs a shell script."""
        container = {
            "name": "main",
            "image": self.image,
            "command": ["sh", "-c", script],
            "volumeMounts": spec.pop("volumeMounts", []),
            "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
        security = {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 1,
                "securityContext": security,
                "containers": [container],
                **spec,
            },
        }


@pytest.fixture(scope="session")
def trial() -> Iterator[Trial]:
    """Return a cluster of two nodes, taken down afterwards."""
    if os.environ.get("CLUSTER", "local") == "current":
        pytest.skip("these test the local cluster itself; CLUSTER=current has none")
    drive("up", "--name", CLUSTER_NAME, "--nodes", "2")
    try:
        yield Trial(CLUSTER_NAME, images.ensure_base_image())
    finally:
        drive("down", "--name", CLUSTER_NAME)
