"""Why objects of trainings were not created, as the API server last reported it.

Kept in memory only: a restarted operator retries and records it again.
"""

from dataclasses import dataclass
from datetime import datetime

from detection_operator.api.conditions import Reason
from detection_operator.cluster.api.resources import Key
from detection_operator.core.state import Obstacle
from detection_operator.errors import (
    ForbiddenError,
    ForeignObjectError,
    InvalidError,
    OperatorError,
    OutdatedObjectError,
    UnavailableError,
)

REPORTED_FAILURES = 3
"""Consecutive creates without an answer, or with a 5xx answer, before they are reported: a webhook
that is down fails each of them.
"""
_REASONS: dict[type[OperatorError], Reason] = {
    ForbiddenError: Reason.JOB_REJECTED,
    InvalidError: Reason.JOB_REJECTED,
    UnavailableError: Reason.JOB_REJECTED,
    ForeignObjectError: Reason.NAME_TAKEN,
    OutdatedObjectError: Reason.OBJECT_OUTDATED,
}


@dataclass(slots=True)
class _Row:
    """Consecutive refusals."""

    failures: int = 0
    obstacle: Obstacle | None = None


class Obstacles:
    """The refusals of each training, until one of its objects is created."""

    def __init__(self) -> None:
        """Start without refusals."""
        self._rows: dict[Key, _Row] = {}

    def of(self, key: Key) -> Obstacle | None:
        """Return what prevents the creation of a training's objects; None if nothing does."""
        row = self._rows.get(key)
        return row.obstacle if row is not None else None

    def record(self, key: Key, error: OperatorError, generation: int, now: datetime) -> None:
        """Record the error of a create; errors other than refusals are ignored."""
        reason = _REASONS.get(type(error))
        if reason is None:
            return
        row = self._rows.setdefault(key, _Row())
        row.failures += 1
        if isinstance(error, UnavailableError) and row.failures < REPORTED_FAILURES:
            return
        since = row.obstacle.since if row.obstacle is not None else now
        row.obstacle = Obstacle(
            reason,
            str(error),
            since=since,
            tried_at=now,
            is_invalid=isinstance(error, InvalidError),
            generation=generation,
        )

    def clear(self, key: Key) -> None:
        """Delete the recorded refusals."""
        self._rows.pop(key, None)
