"""Every number, text and list of a report is bounded: an accepted report can be written."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from detection_trainer.contract.report import Outcome, Report

Schema = dict[str, Any]
REPORT: Schema = {
    "attempt": 1,
    "sequence": 1,
    "time": "2026-11-24T10:00:00Z",
    "step": 5,
    "targetSteps": 100,
}
SAVED: Schema = {"step": 5, "uri": "s3://runs/a", "digest": "sha256:" + "0" * 64}
INT64 = 2**63 - 1


def parts(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield every schema in `schema`, with its place."""
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(node.get("type"), str):
                yield place, node
            waiting += [(f"{place}/{key}", value) for key, value in node.items()]
        elif isinstance(node, list):
            waiting += [(f"{place}/{n}", value) for n, value in enumerate(node)]


def is_bounded(node: Schema) -> bool:
    match node["type"]:
        case "integer":
            closed = "enum" in node or {"minimum", "maximum"} <= node.keys()
            return closed and -INT64 <= node.get("minimum", 0) <= node.get("maximum", 0) <= INT64
        case "string":
            return bool({"maxLength", "enum", "const"} & node.keys()) or (
                node.get("format") == "date-time"
            )
        case "array":
            return "maxItems" in node
        case "object":
            if "properties" in node:
                return node.get("additionalProperties") is False
            return "maxProperties" in node and "maxLength" in node.get("propertyNames", {})
        case kind:
            return kind in {"number", "boolean", "null"}


@pytest.mark.parametrize("model", [Report, Outcome], ids=lambda model: model.__name__)
def test_everything_has_a_bound(model: type[Report | Outcome]) -> None:
    assert model.model_config["allow_inf_nan"] is False, "numbers are finite"
    found = list(parts(model.model_json_schema()))
    assert len(found) > 10
    assert [place for place, node in found if not is_bounded(node)] == []


BEYOND: dict[str, Schema] = {
    "a sequence beyond every integer type": {"sequence": 10**30},
    "an attempt": {"attempt": 2**63},
    "a step": {"step": 2**31},
    "a target": {"targetSteps": 10**20},
    "a count of checkpoints": {"checkpointCount": 2**63},
    "memory": {"progress": {"memoryBytes": 10**25}},
    "memory below zero": {"progress": {"memoryBytes": -(10**25)}},
    "a cycle's start": {"cycles": [{"start": 10**30, "decaySteps": 1}]},
    "a cycle's length": {"cycles": [{"start": 0, "decaySteps": 10**30}]},
    "a count of variables": {
        "restored": {"uri": "s3://runs/b", "variables": {"restored": 10**30, "fresh": 0}}
    },
    "a file's size": {
        "outcome": {
            "exitCode": 0,
            "reason": "Completed",
            "message": "",
            "dataset": {"digest": SAVED["digest"], "files": 1, "sizeBytes": 10**30},
        }
    },
    "a time before 1970": {"time": "0001-01-01T00:00:00Z"},
    "a time that is none in UTC": {"time": "0001-01-01T00:00:00+14:00"},
    "a time whose year has five digits in UTC": {"time": "9999-12-31T23:59:59-14:00"},
    "a time in numbers": {"time": 10**18},
    "a checkpoint's time": {"checkpoints": [SAVED | {"savedAt": "0001-01-01T00:00:00"}]},
    "a metric's name": {"metrics": {"m" * 129: 1.0}},
    "metrics": {"metrics": {f"m{n}": 1.0 for n in range(65)}},
    "a group's name": {
        "restored": {
            "uri": "s3://runs/b",
            "variables": {"restored": 0, "fresh": 0},
            "groups": {"g" * 65: {"restored": 0, "fresh": 0}},
        }
    },
}


@pytest.mark.parametrize("more", BEYOND.values(), ids=BEYOND)
def test_what_cannot_be_written_is_no_report(more: Schema) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate(REPORT | more)


def test_a_time_of_any_zone_is_converted_to_utc() -> None:
    noon = datetime(2026, 11, 24, 12, tzinfo=UTC)
    for text in ("2026-11-24T12:00:00", "2026-11-24T12:00:00Z", "2026-11-24T14:00:00+02:00"):
        report = Report.model_validate(REPORT | {"time": text})
        assert report.time == noon
        assert report.time.tzinfo is UTC
