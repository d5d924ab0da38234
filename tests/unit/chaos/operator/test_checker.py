"""Made-up audit logs: one that breaks nothing, and for each promise one that breaks it alone."""

import json
from typing import Any

import pytest

from chaos.operator.checker import JOB_NAME, PLANNED_END, REPORTED, check
from detection_operator import names
from sandbox.simulation.audit import Entry

Object = dict[str, Any]
ATTEMPT_ENDED = {"status": {"phase": "Succeeded"}}


def entry(second: int, verb: str, resource: str, name: str, body: Object) -> Entry:
    time = f"2026-11-26T10:00:{second:02d}.000000Z"
    return Entry(time, verb, resource, "vision", name, "someone", body)


def applied(second: int = 0, end: str = "Complete") -> Entry:
    body = {"metadata": {"annotations": {PLANNED_END: end}}}
    return entry(second, "create", "detectiontrainings", "trees", body)


def status(
    second: int, phase: str, attempt: int = 1, step: int = 0, saved: int | None = None
) -> Entry:
    written: Object = {"phase": phase, "step": step, "currentAttempt": {"number": attempt}}
    if phase not in {"Queued", "Starting"}:
        written["currentAttempt"]["resumedFromStep"] = 0
    if saved is not None:
        written["latestCheckpoint"] = {"step": saved}
    body = {"metadata": {"resourceVersion": str(100 + second)}, "status": written}
    return entry(second, "patch", "detectiontrainings/status", "trees", body)


def job(second: int, attempt: int = 1, role: str = names.ROLE_TRAINER) -> Entry:
    labels = {names.LABEL_TRAINING: "trees", names.LABEL_ROLE: role}
    return entry(second, "create", "jobs", f"trees-{attempt}", {"metadata": {"labels": labels}})


def job_failed(second: int, attempt: int = 1) -> Entry:
    body = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    return entry(second, "update", "jobs/status", f"trees-{attempt}", body)


def pod(
    second: int, phase: str = "Running", attempt: int = 1, reported: Object | None = None
) -> Entry:
    metadata: Object = {"labels": {JOB_NAME: f"trees-{attempt}"}}
    if reported is not None:
        metadata["annotations"] = {REPORTED: json.dumps({"attempt": attempt, **reported})}
    body = {"metadata": metadata, "status": {"phase": phase}}
    return entry(second, "patch", "pods/status", f"trees-{attempt}-pod", body)


def reported(step: int, checkpoint: int, *, completed: bool = False) -> Object:
    return {"step": step, "checkpoint": checkpoint, "completed": completed}


GOOD = [
    applied(),
    status(1, "Queued"),
    job(2),
    pod(3, reported=reported(50, 40)),
    status(4, "Running", step=50, saved=40),
    pod(5, "Failed"),
    job_failed(6),
    status(7, "Queued", attempt=2, step=50, saved=40),
    job(8, attempt=2),
    pod(9, attempt=2, reported=reported(100, 100, completed=True)),
    status(10, "Complete", attempt=2, step=100, saved=100),
    pod(11, "Succeeded", attempt=2),
]


def without(second: int) -> list[Entry]:
    return [known for known in GOOD if not known.time.endswith(f":{second:02d}.000000Z")]


def test_a_life_as_it_should_be_breaks_nothing() -> None:
    assert check(GOOD) == []


def test_an_attempt_resumes_at_the_checkpoint_and_not_at_the_last_step_of_the_one_before() -> None:
    resumed = status(9, "Running", attempt=2, step=40, saved=40)
    assert check([*GOOD, resumed]) == []


def test_the_order_of_requests_decides_not_that_of_lines() -> None:
    assert check(reversed(GOOD)) == []


@pytest.mark.parametrize(
    ("rule", "log"),
    [
        ("two live Jobs", without(5)),
        ("a Job for a refused training", [applied(end="Refused"), job(1), status(2, "Refused", 0)]),
        ("an end that was not planned", [applied(end="Failed"), *GOOD[1:]]),
        ("an end that was not planned", GOOD[:-2]),
        ("an attempt that goes backwards", [*GOOD, status(12, "Complete", 1, 50, 100)]),
        ("a step that goes backwards", [*GOOD, status(12, "Complete", 2, 90, 100)]),
        ("a checkpoint that goes backwards", [*GOOD, status(12, "Complete", 2, 100, 40)]),
        ("a step that no trainer reported", [*GOOD, status(12, "Complete", 2, 101, 100)]),
        (
            "a step that no trainer reported",
            [*GOOD[:9], status(9, "Running", 2, 50, 40), *GOOD[9:]],
        ),
        ("a checkpoint that no trainer reported", [*GOOD, status(12, "Complete", 2, 100, 101)]),
        (
            "a completion that no trainer reported",
            [
                applied(),
                job(1),
                pod(2, reported=reported(100, 100)),
                status(3, "Complete", 1, 100, 100),
            ],
        ),
    ],
)
def test_a_broken_promise_is_found_and_nothing_else(rule: str, log: list[Entry]) -> None:
    assert [violation.rule for violation in check(log)] == [rule]


def test_a_deleted_job_lives_on_in_a_pod_that_still_saves() -> None:
    log = [*GOOD[:5], entry(5, "delete", "jobs", "trees-1", {}), job(6, attempt=2)]
    assert "two live Jobs" in {violation.rule for violation in check(log)}


def test_a_preflight_is_no_training_job() -> None:
    assert check([applied(), job(1, 9, names.ROLE_PREFLIGHT), *GOOD[1:]]) == []


def test_a_job_whose_creation_got_no_answer_is_recognised_by_its_controllers_writes() -> None:
    controlled = job(2)
    controlled = entry(2, "patch", "jobs/status", "trees-1", controlled.body)
    assert check([*GOOD[:2], controlled, *GOOD[3:]]) == []


def test_an_end_whose_write_got_no_answer_is_recognised_by_a_later_write() -> None:
    end = status(10, "Complete", attempt=2, step=100, saved=100)
    shown = entry(12, "patch", "detectiontrainings", "trees", end.body)
    assert [violation.rule for violation in check(without(10))] == ["an end that was not planned"]
    assert check([*without(10), shown]) == []
