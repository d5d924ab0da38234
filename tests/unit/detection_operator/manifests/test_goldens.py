"""What is created in the cluster, against golden files (`UPDATE_GOLDENS=1` rewrites them)."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import (
    EnsureClaim,
    RestoreFrom,
    StartAttempt,
    StartPreflight,
)
from detection_operator.manifests import Manifests
from tests.support.operator.observations import CHECK, JOB, SETTINGS, checkpoint, spec, training

Object = dict[str, Any]

GOLDENS = Path(__file__).parents[3] / "data" / "manifests"
BUILD = Manifests(
    replace(SETTINGS, report_url="https://detection-operator.system.svc"), lambda: "PEM of a CA\n"
)
IMAGE = "registry.example/trainer:1"

PLAIN = training(spec())
FULL = training(
    spec(
        restore={"mode": "detection", "from": {"trainingRef": {"name": "coco"}}},
        checkpoints={"storage": {"volumeClaim": {"size": "20Gi", "storageClassName": "fast"}}},
        credentials=[
            {"uriPrefix": "s3://", "secretRef": {"name": "s3"}},
            {"uriPrefix": "s3://models/", "secretRef": {"name": "models"}},
        ],
        resources={"limits": {"nvidia.com/gpu": 1, "memory": "32Gi"}, "requests": {"cpu": "8"}},
        podTemplate={
            "labels": {"team": "vision", "detectiontraining.dev/role": "mine"},
            "annotations": {"sidecar.istio.io/inject": "false"},
            "nodeSelector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "serviceAccountName": "trainer",
            "imagePullSecrets": [{"name": "pull"}],
            "priorityClassName": "batch",
            "runtimeClassName": "nvidia",
            "schedulerName": "volcano",
            "env": [{"name": "HOME", "value": "/home/me"}],
            "envFrom": [{"configMapRef": {"name": "proxy"}}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "securityContext": {"fsGroup": 2000},
        },
    ),
    labels={"kueue.x-k8s.io/queue-name": "gpus", "other": "label"},
)
SOURCE = RestoreFrom("file:///sources/coco/step-00000500", 500, "coco-checkpoints")
RESUMED = replace(FULL, status=Status(latest_checkpoint=checkpoint(40)))

OBJECTS: dict[str, Callable[[], Object]] = {
    "attempt-job": lambda: BUILD.job(PLAIN, StartAttempt(1, JOB, IMAGE)),
    "attempt-job-full": lambda: BUILD.job(FULL, StartAttempt(1, JOB, IMAGE, SOURCE)),
    "attempt-job-resumed": lambda: BUILD.job(RESUMED, StartAttempt(2, JOB, IMAGE)),
    "preflight-job": lambda: BUILD.job(FULL, StartPreflight(CHECK, IMAGE, SOURCE)),
    "claim": lambda: BUILD.claim(FULL, EnsureClaim("trees-checkpoints")),
}


class Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, so that a difference can be read."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _block)


@pytest.mark.parametrize("name", OBJECTS)
def test_object_is_the_golden_one(name: str) -> None:
    golden = GOLDENS / f"{name}.yaml"
    built = OBJECTS[name]()
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(yaml.dump(built, Dumper=Dumper, sort_keys=False, width=100))
    assert built == yaml.safe_load(golden.read_text())


def test_no_golden_is_left_over() -> None:
    assert {path.stem for path in GOLDENS.glob("*.yaml")} == set(OBJECTS)
