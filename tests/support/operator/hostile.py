"""Invalid objects: complete ones with one value replaced by another."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.support.operator.cluster_objects import (
    CREATED,
    attempt_status,
    container_status,
    job,
    pod,
    stored_training,
)

Object = dict[str, Any]
Path = tuple[str | int, ...]

ODD_TIMES = (
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "2016-12-31T23:59:60Z",
    "2026-11-24t10:00:00.123456789z",
    "2026-11-24T10:00:00+23:59",
)
"""Times that the CRD's `date-time` takes."""


def nested(levels: int) -> str:
    """Return what becomes an object nested so deep in `api_bytes`: Python cannot write it."""
    return f"@nested {levels}"


def api_bytes(document: Any) -> bytes:
    """Return `document` as the API server answers it."""

    def deep(match: re.Match[str]) -> str:
        levels = int(match[1])
        return '{"a":' * levels + "{}" + "}" * levels

    return re.sub(r'"@nested (\d+)"', deep, json.dumps(document)).encode()


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**19), 10**19)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([*ODD_TIMES, "", "-1", "True", "Failed", "Complete", "Running", "file:///a"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
) | st.sampled_from([120, 250, 1200]).map(nested)
IDENTITY = {("metadata", field) for field in ("namespace", "name", "uid", "resourceVersion")}
"""What the API server itself sets, and checks."""


def whole_training() -> Object:
    """Return a training with something in each part that is read."""
    checkpoint = {
        "step": 40,
        "uri": "s3://runs/trees/step-40",
        "digest": "sha256:" + "0" * 64,
        "savedAt": CREATED,
    }
    outcome = {"exitCode": 1, "reason": "Killed", "message": "x", "finishedAt": CREATED}
    status = attempt_status(startedAt=CREATED, outcome=outcome) | {
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": CREATED,
                "reason": "Training",
                "message": "x",
            }
        ],
        "progress": {"loss": "0.5", "reportedAt": CREATED},
        "latestCheckpoint": checkpoint,
        "checkpoints": [checkpoint],
        "retries": {"count": 1, "notBefore": CREATED},
        "startTime": CREATED,
        "step": 40,
    }
    return stored_training(
        status=status,
        checkpoints={"storage": {"uri": "file:///data/trees"}},
        continueFrom={"trainingRef": {"name": "coco"}},
        podTemplate={
            "labels": {"team": "a"},
            "affinity": {"nodeAffinity": {}},
            "env": [{"name": "A", "value": "b"}],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "s"}],
        },
    )


def whole_job() -> Object:
    """Return a Job that has failed."""
    failed = {"type": "Failed", "status": "True", "reason": "x", "lastTransitionTime": CREATED}
    return job(status={"conditions": [failed]})


def whole_pod() -> Object:
    """Return a pod whose trainer has ended."""
    ended = {"exitCode": 75, "reason": "Error", "startedAt": CREATED, "finishedAt": CREATED}
    status = container_status(terminated=ended) | {
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED},
            {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": CREATED},
        ],
        "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "x"}}}],
    }
    return pod(status=status, deletionTimestamp=CREATED, deletionGracePeriodSeconds=30)


def paths_in(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield where values are."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_in(item, (*path, key))


def replaced(body: Object, path: Path, value: Any) -> Object:
    """Return a copy of `body` with another value at `path`."""
    result = copy.deepcopy(body)
    place: Any = result
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return result


def _may_change(path: Path) -> bool:
    return path != ("metadata",) and path[:2] not in IDENTITY


@st.composite
def damaged(draw: st.DrawFn, body: Object) -> Object:
    """Return `body` with one to three values replaced."""
    for _ in range(draw(st.integers(1, 3))):
        paths = [path for path in paths_in(body) if _may_change(path)]
        body = replaced(body, draw(st.sampled_from(paths)), draw(VALUES))
    return body
