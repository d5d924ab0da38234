"""Packs similar long texts: each is stored as its difference from a typical text.

Ten thousand trainings are 36 MB of JSON; nine tenths of that are defaults, field names and
conditions that all of them share.
"""

import json
import zlib
from datetime import UTC, datetime

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import AttemptStatus, ProgressStatus, Spec, Status
from detection_operator.cluster.observe.parse import render_status
from detection_operator.core.case import Standing
from detection_operator.core.phases import conditions_of

LEVEL = 1
"""The fastest level: with the typical text as a dictionary, more effort saves little."""
SOME_DAY = datetime(2026, 11, 24, 10, tzinfo=UTC)


def pack(text: bytes) -> bytes:
    """Return `text` packed."""
    packer = zlib.compressobj(LEVEL, zdict=TYPICAL)
    return packer.compress(text) + packer.flush()


def unpack(packed: bytes) -> bytes:
    """Return the text of `packed`, which this version of the program has packed."""
    return zlib.decompressobj(zdict=TYPICAL).decompress(packed)


def _typical() -> bytes:
    """Return a training as the API server writes it, with all defaults."""
    spec = Spec.model_validate(
        {
            "model": {"backbone": "resnet50"},
            "dataset": {
                "train": {"uri": "s3://data/train-*.tfrecord"},
                "validation": {"uri": "s3://data/validation-*.tfrecord"},
                "classes": ["tree"],
            },
            "steps": 10000,
            "checkpoints": {"storage": {"uri": "s3://runs/"}},
            "resources": {"limits": {"nvidia.com/gpu": 1, "memory": "16Gi"}},
        }
    )
    message = "The trainer of attempt 1 runs and has not reported a step yet."
    standing = Standing(Phase.STARTING, Reason.STARTING, message)
    status = Status(
        conditions=conditions_of(standing, Status(), spec, 1, SOME_DAY),
        phase=standing.phase,
        current_attempt=AttemptStatus(
            number=1,
            job_name="-1",
            image="detection-trainer",
            created_at=SOME_DAY,
            started_at=SOME_DAY,
            generation=1,
            target_steps=10000,
        ),
        progress=ProgressStatus(loss="0.5", reported_at=SOME_DAY),
    )
    written = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = {"spec": written, "status": render_status(status)}
    return json.dumps(text, separators=(",", ":"), sort_keys=True).encode()


TYPICAL = _typical()
