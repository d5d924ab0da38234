import json
from pathlib import Path
from typing import Any

from sandbox.simulation.audit import read_audit


def event(**changes: Any) -> dict[str, Any]:
    return {
        "stage": "ResponseComplete",
        "requestReceivedTimestamp": "2026-11-26T10:00:00.000001Z",
        "verb": "create",
        "userAgent": "detection-operator",
        "objectRef": {"resource": "jobs", "namespace": "vision"},
        "responseStatus": {"code": 201},
        "responseObject": {"metadata": {"name": "trees-1"}},
    } | changes


def test_only_requests_that_were_carried_out_are_reported(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    patched = {"resource": "jobs", "subresource": "status", "namespace": "vision", "name": "x"}
    events = [
        event(),
        event(responseStatus={"code": 409}),
        event(stage="Panic"),
        event(verb="patch", objectRef=patched, responseObject=None),
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in events))
    created, written = read_audit(log)
    assert (created.resource, created.name, created.agent) == (
        "jobs",
        "trees-1",
        "detection-operator",
    )
    assert (written.resource, written.name, written.body) == ("jobs/status", "x", {})


def test_an_object_of_any_depth_hides_no_other(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    line = json.dumps(event(responseObject={"metadata": {"name": "deep"}, "spec": "SPEC"}))
    deep = line.replace('"SPEC"', '{"a":' * 2000 + "1" + "}" * 2000)
    log.write_text(f"{deep}\n{json.dumps(event())}\n")
    assert [entry.name for entry in read_audit(log)] == ["deep", "trees-1"]
