"""What the benchmark applies, and what its trainers report."""

import json
from datetime import UTC, datetime
from typing import Any

from sandbox.simulation.fake_nodes import SELECTOR

Object = dict[str, Any]
STEPS = 100_000
CHECKPOINT_EVERY = 60
"""One report in this many has a new checkpoint: every ten minutes with a report every 10 s."""


def training(name: str) -> Object:
    """Return a training as people write it, whose pods run on fake nodes."""
    return {
        "apiVersion": "detectiontraining.dev/v1alpha1",
        "kind": "DetectionTraining",
        "metadata": {"name": name, "labels": {"team": "forest"}},
        "spec": {
            "model": {"backbone": "resnet50", "imageSize": 640},
            "dataset": {
                "train": {"uri": "s3://data/trees/train-*.tfrecord"},
                "validation": {"uri": "s3://data/trees/validation-*.tfrecord"},
                "classes": ["Tree", "Shrub"],
            },
            "steps": STEPS,
            "batchSize": 8,
            "checkpoints": {"storage": {"uri": f"s3://runs/{name}"}, "everySteps": 1000},
            "credentials": [{"uriPrefix": "s3://", "secretRef": {"name": "s3"}}],
            "resources": {
                "requests": {"cpu": "1", "memory": "1Gi"},
                "limits": {"memory": "4Gi"},
            },
            "podTemplate": {"nodeSelector": SELECTOR},
        },
    }


def report(name: str, sequence: int, *, ends: bool = False) -> bytes:
    """Return the `sequence`-th report of a trainer's first attempt."""
    now = datetime.now(UTC).isoformat()
    step = STEPS if ends else sequence * 10
    saved = STEPS if ends else sequence // CHECKPOINT_EVERY * CHECKPOINT_EVERY * 10
    checkpoint = {
        "step": saved,
        "uri": f"s3://runs/{name}/step-{saved:08d}",
        "digest": "sha256:" + "0" * 64,
        "savedAt": "2026-11-26T10:00:00Z",
    }
    body: Object = {
        "attempt": 1,
        "sequence": sequence,
        "time": now,
        "step": step,
        "targetSteps": STEPS,
        "resumedFromStep": 0,
        "classes": ["Tree", "Shrub"],
        "checkpoints": [checkpoint],
        "checkpointCount": 1,
        "progress": {"loss": 1 / (1 + sequence), "learningRate": 0.01, "stepsPerSecond": 1.0},
    }
    if ends:
        body["outcome"] = {"exitCode": 0, "reason": "Completed", "message": "All steps done."}
    return json.dumps(body).encode()
