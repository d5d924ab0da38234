"""Merges trainers' reports into statuses, and writes these. The queue of reports decides when."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from http import HTTPStatus

from detection_operator.api.times import utc_now
from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.decision_log import log_decision
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.restate import Restate, Restated, leave
from detection_operator.core.events import events_between
from detection_operator.core.reports import apply_report
from detection_operator.core.state import Training
from detection_operator.errors import ConflictError, NotFoundError, RefusedError
from detection_trainer.contract.report import Report


@dataclass(frozen=True, slots=True)
class Merge:
    """A training as the cache has it, and its status with a report in it."""

    training: Training
    status: Status

    @property
    def is_known(self) -> bool:
        """Whether the status contains the report already."""
        return self.status == self.training.status

    @property
    def is_urgent(self) -> bool:
        """Whether the report changes more than the progress and the speed of the steps."""
        return _essence(self.training.status) != _essence(self.status)


class ReportWriter:
    """Writes one report into the status of its training."""

    def __init__(
        self,
        *,
        cache: Cache,
        writer: StatusWriter,
        events: EventPoster,
        restate: Restate = leave,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Let `restate` decide what else a status reports once a report is in it."""
        self._cache, self._writer, self._events = cache, writer, events
        self._restate, self._now = restate, now

    async def check(self, key: Key, uid: str, report: Report) -> None:
        """Check that the training can take this report, with its newest state.

        Raises:
            RefusedError: the training is gone, or its attempt is another one.
            ClusterError: the API did not answer as needed; the report can be sent again.
        """
        if self._refusal(key, uid, report):
            # A refusal ends the trainer: it must not depend on a watch that lags behind.
            await self._writer.refresh(key)
        if (refusal := self._refusal(key, uid, report)) is not None:
            raise refusal

    def merge(self, key: Key, uid: str, report: Report) -> Merge:
        """Return the training's status with the report in it.

        Raises:
            RefusedError: the training is gone, or its attempt is another one.
            UnreadableError: the training cannot be read.
        """
        record = self._cache.training(key)
        refusal = self._refusal(key, uid, report)
        if record is None or refusal is not None:
            raise refusal or gone(key)
        training = record.parse()
        return Merge(training, self.merged(training, report).status)

    def merged(self, training: Training, report: Report) -> Training:
        """Return `training` with a report in its status."""
        return replace(training, status=apply_report(training.status, report, self._now()))

    async def write(self, key: Key, merge: Merge) -> Restated | None:
        """Write a status with what follows from it; None: another wrote in between.

        Raises:
            InvalidError: the API server refuses the status.
            ClusterError: the API did not answer as needed; the write can be repeated.
        """
        restated = self._restate(replace(merge.training, status=merge.status))
        try:
            await self._writer.write(merge.training, restated.status)
        except (ConflictError, NotFoundError):
            await self._writer.refresh(key)
            return None
        return restated

    async def announce(self, merge: Merge, written: Restated) -> None:
        """Log the decision that was written, and post the Events of what changed."""
        if written.decision is not None:
            log_decision(*written.decision)
        for event in events_between(merge.training.status, written.status):
            await self._events.post(merge.training.identity, event)

    def _refusal(self, key: Key, uid: str, report: Report) -> RefusedError | None:
        """Return why the training cannot take this report, as far as is known."""
        record = self._cache.training(key)
        if record is None or record.version.uid != uid:
            return gone(key)
        if record.attempt == report.attempt:
            return None
        msg = f"attempt {report.attempt} is not the current one ({record.attempt}): stop"
        return RefusedError(HTTPStatus.CONFLICT, "stale_attempt", msg)


def _essence(status: Status) -> Status:
    attempt = status.current_attempt
    if attempt is not None:
        # It matters that a first report came; the numbers of later reports do not.
        first = None if attempt.sequence is None else 0
        attempt = attempt.model_copy(update={"sequence": first, "last_step": 0})
    return status.model_copy(update={"progress": None, "step": 0, "current_attempt": attempt})


def gone(key: Key) -> RefusedError:
    """Return the refusal for a training that no longer exists."""
    msg = f"the DetectionTraining {key} is gone: stop"
    return RefusedError(HTTPStatus.NOT_FOUND, "training_gone", msg)
