"""What Flux, Argo CD and `kubectl wait` read in each phase."""

from datetime import timedelta

import pytest

from detection_operator.api.conditions import ConditionType, Phase, Reason
from detection_operator.api.v1alpha1 import Condition, RestoredStatus, Status
from detection_operator.core.case import Standing
from detection_operator.core.phases import TABLE, conditions_of
from detection_operator.core.plan import plan
from detection_trainer.contract.report import VariableCounts
from tests.support.operator.observations import NOW, SETTINGS, observed, spec
from tests.support.operator.situations import SITUATIONS

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"

KSTATUS = {
    Phase.PENDING: {RECONCILING},
    Phase.PREFLIGHT: {RECONCILING},
    Phase.QUEUED: {READY},
    Phase.STARTING: {READY},
    Phase.RUNNING: {READY},
    Phase.RETRYING: {READY},
    Phase.SUSPENDING: {READY},
    Phase.SUSPENDED: {READY, "Suspended"},
    Phase.COMPLETE: {READY, "Complete"},
    Phase.REFUSED: {STALLED},
    Phase.FAILED: {STALLED, "Failed"},
}


def by_type(conditions: list[Condition]) -> dict[str, Condition]:
    return {condition.type: condition for condition in conditions}


@pytest.mark.parametrize("phase", Phase)
def test_true_conditions_of_a_phase(phase: Phase) -> None:
    standing = Standing(phase, Reason.QUEUED, "a message")
    conditions = conditions_of(standing, Status(), spec(), 3, NOW)
    assert {c.type for c in conditions if c.status == "True"} == KSTATUS[phase]
    assert {c.type for c in conditions} == set(ConditionType)
    assert {c.observed_generation for c in conditions} == {3}


def test_the_table_covers_every_phase() -> None:
    assert set(TABLE) == set(Phase)


@pytest.mark.parametrize("sentence", SITUATIONS)
def test_conditions_agree_with_the_phase(sentence: str) -> None:
    situation = SITUATIONS[sentence]
    status = plan(situation.observed, SETTINGS, NOW).status
    true = {c.type for c in status.conditions if c.status == "True"}
    expected = KSTATUS[situation.phase]
    if situation.held_up or situation.stalled:
        expected = expected - {READY} | {STALLED if situation.stalled else RECONCILING}
    assert true == expected
    generation = situation.observed.training.generation
    assert status.observed_generation == generation
    assert {c.observed_generation for c in status.conditions} == {generation}
    assert all(c.reason and c.message for c in status.conditions)


def test_transition_times_move_only_where_a_condition_turns() -> None:
    first = plan(observed(), SETTINGS, NOW).status
    later = NOW + timedelta(minutes=5)
    suspended = plan(observed(spec(suspend=True), first, generation=2), SETTINGS, later).status
    times = {c.type: c.last_transition_time for c in suspended.conditions}
    assert times[ConditionType.READY] == NOW
    assert times[ConditionType.SUSPENDED] == later


def test_a_resource_that_was_never_seen_is_not_current() -> None:
    assert Status().observed_generation == -1


@pytest.mark.parametrize(
    ("mode", "fields", "truth", "reason"),
    [
        (None, {}, "False", Reason.FROM_SCRATCH),
        (
            None,
            {"restore": {"mode": "full", "from": {"uri": "s3://models/coco"}}},
            "False",
            "RestorePending",
        ),
        ("detection", {}, "True", Reason.RESTORED_FROM_SOURCE),
        ("continue", {}, "True", Reason.CONTINUED_FROM_SOURCE),
    ],
    ids=["from scratch", "not yet", "restored", "continued"],
)
def test_restored(mode: str | None, fields: dict[str, object], truth: str, reason: str) -> None:
    counts = VariableCounts(restored=161, fresh=42)
    restored = RestoredStatus(
        mode=None if mode == "continue" else mode, uri="s3://models/coco", variables=counts
    )
    status = Status(restored=restored if mode else None)
    standing = Standing(Phase.RUNNING, Reason.TRAINING, "a message")
    condition = by_type(conditions_of(standing, status, spec(**fields), 1, NOW))["Restored"]
    assert (condition.status, condition.reason) == (truth, reason)
    assert mode is None or "Restored 161 variables from s3://models/coco" in condition.message
