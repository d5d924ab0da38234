"""No reason is documented that nothing gives: each is reached by a situation."""

from collections.abc import Iterator

from detection_operator.api.conditions import Reason
from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.act.status import unreadable_conditions
from detection_operator.core.actions import DeleteJob
from detection_operator.core.events import events_between
from detection_operator.core.plan import plan
from detection_operator.core.reports import apply_report
from detection_trainer.contract.report import Restored, SkippedCheckpoint, VariableCounts
from tests.support.operator.causes import CAUSES
from tests.support.operator.observations import (
    NOW,
    SETTINGS,
    attempt,
    job,
    observed,
    pod,
    record,
    report,
    spec,
    under_way,
)
from tests.support.operator.situations import SITUATIONS

REPORTED_WHILE_ACTING = {Reason.NETWORK_POLICY_RESET}
"""By an Event of `cluster/act/apply.py`."""


def reasons_in(status: Status) -> Iterator[str]:
    yield from (condition.reason for condition in status.conditions)
    yield from (entry.reason for entry in status.interruptions)


def reported() -> Iterator[str]:
    """Yield what the reports of a trainer that restored and resumed bring."""
    for mode in ("detection", None):
        before = plan(CAUSES["drained"][0], SETTINGS, NOW).status
        before = before.model_copy(
            update={"latest_checkpoint": None, "current_attempt": attempt(number=2)}
        )
        counts = VariableCounts(restored=3, fresh=1)
        restored = Restored(mode=mode, uri="s3://models/coco", variables=counts)
        received = report(
            41,
            attempt=2,
            resumed_from_step=40,
            restored=restored,
            checkpoints=[record(41)],
            skipped=[SkippedCheckpoint(step=45, problem="its digest differs")],
        )
        after = apply_report(before, received, NOW)
        yield from (event.reason for event in events_between(before, after))
        yield from reasons_in(plan(observed(spec(), after, job(pod())), SETTINGS, NOW).status)


def unread() -> Iterator[str]:
    """Yield the conditions of a training with an unreadable status: nothing is planned for it."""
    yield from (entry["reason"] for entry in unreadable_conditions([], "it is invalid", NOW))


def test_every_reason_is_reached() -> None:
    given = [situation.observed for situation in SITUATIONS.values()]
    given += [observed_then for observed_then, _ in CAUSES.values()]
    seen: set[str] = {*reported(), *unread()}
    for observed_then in given:
        decided = plan(observed_then, SETTINGS, NOW)
        seen.update(reasons_in(decided.status))
        deletions = [action for action in decided.actions if isinstance(action, DeleteJob)]
        seen.update(deletion.reason for deletion in deletions if deletion.reason)
    assert set(Reason) - seen == REPORTED_WHILE_ACTING


def test_a_training_under_way_has_its_reason() -> None:
    # The situations rest on it: an attempt that trains, with one checkpoint.
    status = under_way()
    assert status.current_attempt is not None
    assert status.latest_checkpoint is not None
