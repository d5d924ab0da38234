"""One situation that the operator decides about, and the ways to make one."""

from dataclasses import dataclass
from typing import Any

from detection_operator.api.conditions import Phase, Reason
from detection_operator.api.v1alpha1 import Spec, Status
from detection_operator.core.reports import apply_report
from detection_operator.core.state import Job, Observed, Pod
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Outcome
from tests.support.operator.observations import (
    NOW,
    attempt,
    job,
    observed,
    outcome,
    report,
    spec,
    training_attempt,
    under_way,
)


@dataclass(frozen=True)
class Situation:
    """What is observed, and the state of the training that follows."""

    observed: Observed
    phase: Phase
    reason: Reason
    message: str = ""
    """A part of the message."""
    held_up: bool = False
    """Whether something that a person must end keeps it from its next step, as yet not long."""
    stalled: bool = False
    """Whether it has done so for long."""


Situations = dict[str, Situation]


def just_made(*jobs: Job, **fields: Any) -> Observed:
    """Return an attempt that was just made."""
    return observed(spec(), under_way(attempt()), *jobs, **fields)


def running(*jobs: Job, made: Spec | None = None, **fields: Any) -> Observed:
    """Return an attempt that trains, with a checkpoint of step 40."""
    return observed(made or spec(), under_way(), *jobs, **fields)


def stuck(ended: Pod, **fields: Any) -> Observed:
    """Return an attempt that made no checkpoint beyond its start, and ended so."""
    return observed(spec(), under_way(training_attempt(start_step=40)), job(ended), **fields)


def settled(code: int | None, reason: str, made: Spec | None = None, **fields: Any) -> Observed:
    """Return an attempt whose end is recorded."""
    ended = training_attempt(outcome=outcome(code, reason), **fields.pop("attempt", {}))
    generation = fields.pop("generation", 1)
    return observed(made or spec(), under_way(ended, **fields), generation=generation)


def reported_end() -> Status:
    """Return the status once the trainer reported its completion."""
    end = Outcome(exit_code=ExitCode.COMPLETED, reason="Completed", message="done")
    return apply_report(under_way(), report(100, outcome=end), NOW)
