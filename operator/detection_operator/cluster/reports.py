"""Brings trainers' reports into the status: at once where it matters, else now and then.

A report is a whole snapshot, so that of those that wait only the newest is kept. What matters is
all but the mere progress of steps: then the answer comes after the status was written.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.cache import Cache
from detection_operator.cluster.events import EventPoster
from detection_operator.cluster.queue import CallLater, KeyQueue, Timer, call_later
from detection_operator.cluster.resources import Key
from detection_operator.cluster.status import StatusWriter
from detection_operator.core.events import events_between
from detection_operator.core.reports import apply_report
from detection_operator.core.state import Training
from detection_operator.errors import (
    ClusterError,
    ConflictError,
    NotFoundError,
    RefusedError,
)
from detection_operator.logs import about
from detection_trainer.contract.report import Report

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 8
MAX_WRITES_PER_S = 50.0
"""Of mere progress, over all trainings: where many run, each is written less often."""


@dataclass(slots=True)
class Slot:
    """One running training: when its status was last written, and what waits to be."""

    uid: str
    written_at: float
    pending: Report | None = None
    timer: Timer | None = None


class ReportWriter:
    """Takes verified reports."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        cache: Cache,
        queue: KeyQueue,
        writer: StatusWriter,
        events: EventPoster,
        interval_s: float,
        clock: Callable[[], float] = time.monotonic,
        later: CallLater = call_later,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write mere progress at most every `interval_s` seconds for one training."""
        self._cache, self._queue = cache, queue
        self._writer, self._events = writer, events
        self._interval_s = interval_s
        self._clock, self._later, self._now = clock, later, now
        self._slots: dict[Key, Slot] = {}
        self._flushes: set[asyncio.Task[None]] = set()

    async def take(self, key: Key, uid: str, report: Report) -> bool:
        """Bring a report of the training `uid` into its status; return whether it is written.

        False: it will be within the interval, unless a newer one comes.

        Raises:
            RefusedError: the training is gone, or goes on with another attempt.
            ClusterError: the API did not let us; the trainer is to send it again.
        """
        if self._refusal(key, uid, report):
            # A refusal ends the trainer: it must not come from a watch that lags behind.
            await self._writer.refresh(key)
        for _ in range(MAX_CONFLICTS):
            training = self._training(key, uid, report)
            status = apply_report(training.status, report, self._now())
            if status == training.status:
                # It comes late: what it says is written already.
                return True
            if not is_urgent(training.status, status) and self._defer(key, uid, report):
                return False
            try:
                await self._writer.write(training, status)
            except (ConflictError, NotFoundError):
                await self._writer.refresh(key)
                continue
            self._written(key, uid, report)
            for event in events_between(training.status, status):
                await self._events.tell(training.identity, event)
            return True
        msg = f"the status changed under each of {MAX_CONFLICTS} attempts to write it"
        raise ConflictError(f"writing the report of {key}", HTTPStatus.CONFLICT, msg)

    def overlay(self, training: Training) -> Training:
        """Return `training` with the report that waits: decisions are to know all there is."""
        slot = self._slots.get(Key(training.identity.namespace, training.identity.name))
        if slot is None or slot.pending is None or slot.uid != training.identity.uid:
            return training
        attempt = training.status.current_attempt
        if attempt is None or attempt.number != slot.pending.attempt:
            return training
        status = apply_report(training.status, slot.pending, self._now())
        return replace(training, status=status)

    def forget(self, key: Key) -> None:
        """Drop what is kept for a training that is gone."""
        slot = self._slots.pop(key, None)
        if slot and slot.timer:
            slot.timer.cancel()

    async def close(self) -> None:
        """Write all that waits; what the API does not take comes again with the next report."""
        waiting = [key for key, slot in self._slots.items() if slot.pending]
        await asyncio.gather(*(self._flush(key) for key in waiting))
        for key in list(self._slots):
            self.forget(key)

    def _training(self, key: Key, uid: str, report: Report) -> Training:
        record = self._cache.training(key)
        refusal = self._refusal(key, uid, report)
        if record is None or refusal is not None:
            raise refusal or gone(key)
        return record.parse()

    def _refusal(self, key: Key, uid: str, report: Report) -> RefusedError | None:
        """Return why the training cannot take this report, as far as is known."""
        record = self._cache.training(key)
        if record is None or record.version.uid != uid:
            return gone(key)
        if record.attempt == report.attempt:
            return None
        msg = f"attempt {report.attempt} is not the current one ({record.attempt}): stop"
        return RefusedError(HTTPStatus.CONFLICT, "stale_attempt", msg)

    def _interval(self) -> float:
        return max(self._interval_s, len(self._slots) / MAX_WRITES_PER_S)

    def _defer(self, key: Key, uid: str, report: Report) -> bool:
        """Keep the report for later, unless its time has come; return whether it waits."""
        slot = self._slots.get(key)
        if slot is None or slot.uid != uid:
            return False
        left_s = slot.written_at + self._interval() - self._clock()
        if left_s <= 0:
            return False
        if slot.pending is None or _order(slot.pending) <= _order(report):
            slot.pending = report
        if slot.timer is None:
            slot.timer = self._later(left_s, lambda: self._start_flush(key))
        return True

    def _written(self, key: Key, uid: str, report: Report) -> None:
        slot = self._slots.get(key)
        newer = slot.pending if slot and slot.uid == uid else None
        if newer is not None and _order(newer) <= _order(report):
            newer = None
        if slot is not None and slot.timer and newer is None:
            slot.timer.cancel()
            slot.timer = None
        if report.outcome is not None:
            self.forget(key)
        else:
            timer = slot.timer if slot else None
            self._slots[key] = Slot(uid, self._clock(), newer, timer)
        self._queue.add(key)

    def _start_flush(self, key: Key) -> None:
        task = asyncio.get_running_loop().create_task(self._flush(key))
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _flush(self, key: Key) -> None:
        slot = self._slots.get(key)
        if slot is None or slot.pending is None:
            return
        report, slot.pending, slot.timer = slot.pending, None, None
        slot.written_at = -math.inf
        try:
            await self.take(key, slot.uid, report)
        except RefusedError:
            self.forget(key)
        except ClusterError as error:
            logger.warning("progress was not written: %s", error, extra=about(key))
            slot.written_at = self._clock()
            self._defer(key, slot.uid, report)


def is_urgent(before: Status, after: Status) -> bool:
    """Whether a report changes more than how far the steps are and how fast they go."""
    return _essence(before) != _essence(after)


def _essence(status: Status) -> Status:
    attempt = status.current_attempt
    if attempt is not None:
        # That a first report came matters, the numbers of later ones do not.
        first = None if attempt.sequence is None else 0
        attempt = attempt.model_copy(update={"sequence": first, "last_step": 0})
    return status.model_copy(update={"progress": None, "step": 0, "current_attempt": attempt})


def gone(key: Key) -> RefusedError:
    """Return the refusal for a training that is no more."""
    msg = f"the DetectionTraining {key} is gone: stop"
    return RefusedError(HTTPStatus.NOT_FOUND, "training_gone", msg)


def _order(report: Report) -> tuple[int, int]:
    return report.attempt, report.sequence
