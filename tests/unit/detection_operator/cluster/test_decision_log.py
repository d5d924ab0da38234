"""The log line of a decision: every input that can change it, in short."""

import json
import logging

import pytest

from detection_operator.api.v1alpha1 import RetryStatus
from detection_operator.cluster.decision_log import changes_anything, decision_of, log_decision
from detection_operator.core.actions import Plan
from detection_operator.core.plan import plan
from detection_operator.core.state import Observed
from detection_operator.logs import about_of
from tests.support.operator.causes import CAUSES
from tests.support.operator.observations import NOW, SETTINGS, job, observed, pod, spec, under_way
from tests.support.operator.situations import SITUATIONS


@pytest.mark.parametrize("name", SITUATIONS)
def test_every_decision_can_be_logged_as_json(name: str) -> None:
    seen = SITUATIONS[name].observed
    logged = json.loads(json.dumps(decision_of(seen, plan(seen, SETTINGS, NOW))))
    assert (logged["phase"], logged["reason"]) == (SITUATIONS[name].phase, SITUATIONS[name].reason)


def test_how_a_pod_ended_and_what_evicted_it_is_logged() -> None:
    seen, _ = CAUSES["drained"]
    [line] = decision_of(seen, plan(seen, SETTINGS, NOW))["inputs"]["jobs"]
    assert "exit code" in line
    assert "disrupted by EvictionByEvictionAPI" in line


def test_a_deletion_is_logged_with_its_reason() -> None:
    seen = observed(spec(suspend=True), under_way(), job(pod()))
    [action] = decision_of(seen, plan(seen, SETTINGS, NOW))["actions"]
    assert action.startswith("DeleteJob trees-5f2c8a1b-1: spec.suspend is set")


def test_an_unchanged_decision_is_not_logged_again() -> None:
    seen = observed(spec(), under_way(), job(pod()))
    first = plan(seen, SETTINGS, NOW)
    assert changes_anything(seen.training.status, first)
    again = plan(observed(spec(), first.status, job(pod())), SETTINGS, NOW)
    assert not changes_anything(first.status, again)


def test_what_time_and_retries_decide_is_logged() -> None:
    failed = under_way(retries=RetryStatus(count=2, not_before=NOW), active_seconds=70, step=50)
    inputs = decision_of(*decided(observed(spec(), failed, job(pod()))))["inputs"]
    assert (inputs["retries"], inputs["notBefore"]) == (2, NOW.isoformat())
    assert (inputs["activeSeconds"], inputs["step"], inputs["checkpoint"]) == (70, 50, 40)


def test_the_log_names_the_resource_by_its_uid(caplog: pytest.LogCaptureFixture) -> None:
    seen = observed(spec(), under_way(), job(pod()))
    with caplog.at_level(logging.INFO):
        log_decision(*decided(seen))
    [record] = caplog.records
    assert about_of(record)["uid"] == seen.training.identity.uid


def decided(seen: Observed) -> tuple[Observed, Plan]:
    return seen, plan(seen, SETTINGS, NOW)
