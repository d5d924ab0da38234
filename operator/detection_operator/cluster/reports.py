"""Brings trainers' reports into the status: at once where it matters, else now and then.

A report is a whole snapshot, so that of those that wait only the newest is kept. What matters is
all but the mere progress of steps: then the answer comes after the status was written.

That all steps are done waits for the pod's end, which follows at once, to be written together with
it: until then the pod itself keeps the report, as its termination message.
"""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.decision_log import log_decision
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.queue import CallLater, KeyQueue, Timer, call_later
from detection_operator.cluster.restate import Restate, leave
from detection_operator.core.events import events_between
from detection_operator.core.reports import apply_report
from detection_operator.core.settling import END_PATIENCE_S
from detection_operator.core.state import Training
from detection_operator.errors import (
    ClusterError,
    ConflictError,
    InvalidError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    UnreadableError,
)
from detection_operator.logs import about
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Report

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 8
MAX_WRITES_PER_S = 50.0
"""Of mere progress, over all trainings: where many run, each is written less often."""

WRITES_AT_ONCE = 20
PROGRESS_AT_ONCE = 4
"""Of these, of mere progress: what matters does not wait behind it."""
MAX_WAITING = 200
CLOSE_S = 10.0
RETRY_S = 5.0
UNWRITABLE = "unwritable"
"""Why a report is refused that the API server does not take into a status."""
STEPS = {"sequence", "time", "step", "progress"}
"""What changes from one report to the next while nothing happens but steps."""


@dataclass(slots=True)
class Slot:
    """One running training: when its status was last written, and what waits to be."""

    uid: str
    written_at: float
    told: int
    """A hash of what was last told, but for steps."""
    order: tuple[int, int]
    """Of the newest report that came."""
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
        restate: Restate = leave,
        leads: Callable[[], bool] = lambda: True,
        count: Callable[[str], None] = lambda _result: None,
        clock: Callable[[], float] = time.monotonic,
        later: CallLater = call_later,
        chance: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Write mere progress at most every `interval_s` seconds for one training.

        `restate` says what else a status is to say with a report in it; `leads`, whether the pod's
        end is awaited by this process; `count` counts what became of reports that had waited.
        """
        self._cache, self._queue = cache, queue
        self._writer, self._events = writer, events
        self._interval_s, self._restate, self._leads = interval_s, restate, leads
        self._count = count
        self._clock, self._later, self._chance, self._now = clock, later, chance, now
        self._turns, self._waiting = asyncio.Semaphore(WRITES_AT_ONCE), 0
        self._progress_turns = asyncio.Semaphore(PROGRESS_AT_ONCE)
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
        if (refusal := self._refusal(key, uid, report)) is not None:
            raise refusal
        if self._tells_only_steps(key, uid, report):
            self._defer(key, uid, report)
            return False
        training = self._training(key, uid, report)
        status = apply_report(training.status, report, self._now())
        if status == training.status:
            # It comes late: what it says is written already.
            return True
        if self._waits(key, uid, report, urgent=is_urgent(training.status, status)):
            return False
        await self._merge(key, uid, report)
        return True

    async def _merge(self, key: Key, uid: str, report: Report) -> None:
        """Write a report at once.

        Raises:
            RefusedError: it cannot be written, now or later.
            ClusterError: the API did not let us; it can be sent again.
        """
        try:
            await self._merge_anew(key, uid, report)
        except InvalidError as error:
            # Sent again it would be refused again, and what follows must not wait for it.
            self.discard(key)
            msg = f"the API server refuses the status with this report: {error}"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, UNWRITABLE, msg) from error

    async def _merge_anew(self, key: Key, uid: str, report: Report) -> None:
        for _ in range(MAX_CONFLICTS):
            async with self._turn(key):
                if await self._write(key, uid, report):
                    return
        msg = f"the status changed under each of {MAX_CONFLICTS} attempts to write it"
        raise ConflictError(f"writing the report of {key}", HTTPStatus.CONFLICT, msg)

    @asynccontextmanager
    async def _turn(self, key: Key) -> AsyncIterator[None]:
        """Wait until few others write: the API server would keep more waiting until they time out.

        Raises:
            UnavailableError: so many wait that the trainer is to come again.
        """
        if self._waiting >= MAX_WAITING:
            msg = f"{MAX_WAITING} others wait to be written: send the newest again"
            busy = HTTPStatus.SERVICE_UNAVAILABLE
            raise UnavailableError(f"writing the report of {key}", busy, msg)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def _write(self, key: Key, uid: str, report: Report) -> bool:
        """Write a report into the status as it is by now; False: another wrote in between."""
        training = self._training(key, uid, report)
        status = apply_report(training.status, report, self._now())
        if status == training.status:
            return True
        restated = self._restate(replace(training, status=status))
        try:
            await self._writer.write(training, restated.status)
        except (ConflictError, NotFoundError):
            await self._writer.refresh(key)
            return False
        urgent = is_urgent(training.status, status)
        self._written(key, uid, report, look=urgent or restated.decision is None)
        if restated.decision is not None:
            log_decision(*restated.decision)
        for event in events_between(training.status, restated.status):
            await self._events.tell(training.identity, event)
        return True

    def discard(self, key: Key) -> bool:
        """Drop the report that waits to be written; return whether there was one."""
        slot = self._slots.get(key)
        if slot is None or slot.pending is None:
            return False
        if slot.timer:
            slot.timer.cancel()
        slot.pending = slot.timer = None
        return True

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

    def forget_gone(self) -> None:
        """Drop what is kept for trainings that are gone; only a leader looks at each by itself."""
        for key, slot in list(self._slots.items()):
            record = self._cache.training(key)
            if record is None or record.version.uid != slot.uid:
                self.forget(key)

    def forget(self, key: Key) -> None:
        """Drop what is kept for a training that is gone."""
        slot = self._slots.pop(key, None)
        if slot and slot.timer:
            slot.timer.cancel()

    async def close(self) -> None:
        """Write what waits, for CLOSE_S at most; the rest comes again with the next report."""
        waiting = [key for key, slot in self._slots.items() if slot.pending]
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(self._flush(key) for key in waiting))
        for key in list(self._slots):
            self.forget(key)

    def _training(self, key: Key, uid: str, report: Report) -> Training:
        record = self._cache.training(key)
        refusal = self._refusal(key, uid, report)
        if record is None or refusal is not None:
            raise refusal or gone(key)
        try:
            return record.parse()
        except UnreadableError as error:
            unready = HTTPStatus.SERVICE_UNAVAILABLE
            wait_s = self._interval_s
            raise RefusedError(unready, "unreadable", str(error), retry_after_s=wait_s) from error

    def _refusal(self, key: Key, uid: str, report: Report) -> RefusedError | None:
        """Return why the training cannot take this report, as far as is known."""
        record = self._cache.training(key)
        if record is None or record.version.uid != uid:
            return gone(key)
        if record.attempt == report.attempt:
            return None
        msg = f"attempt {report.attempt} is not the current one ({record.attempt}): stop"
        return RefusedError(HTTPStatus.CONFLICT, "stale_attempt", msg)

    def reporting(self) -> int:
        """Return how many trainings report to this replica."""
        return len(self._slots)

    def _interval(self) -> float:
        return max(self._interval_s, self.reporting() / MAX_WRITES_PER_S)

    def _tells_only_steps(self, key: Key, uid: str, report: Report) -> bool:
        """Tell whether a report says what the one before said, but for its steps.

        So it is known without reading the status, which most reports can do without.
        """
        slot = self._slots.get(key)
        known = slot is not None and slot.uid == uid and slot.order < _order(report)
        return known and slot is not None and slot.told == _told(report)

    def _waits(self, key: Key, uid: str, report: Report, *, urgent: bool) -> bool:
        """Keep a report that has time; return whether it waits."""
        if self._is_end_awaited(Ref(key.namespace, uid), report):
            slot = self._slots.setdefault(key, _slot(uid, self._clock(), report))
            if slot.timer:
                slot.timer.cancel()
            self._keep(key, slot, report, END_PATIENCE_S)
            return True
        if not urgent:
            self._defer(key, uid, report)
        return not urgent

    def _is_end_awaited(self, training: Ref, report: Report) -> bool:
        """Tell whether the pod of a trainer that has done all steps is about to end by itself."""
        done = report.outcome is not None and report.outcome.exit_code is ExitCode.COMPLETED
        if not done or not self._leads():
            return False
        return all(pod.pod.deleting_since is None for pod in self._cache.pods(training))

    def _defer(self, key: Key, uid: str, report: Report) -> None:
        """Keep a report of mere progress until its time has come."""
        slot = self._slots.get(key)
        if slot is None or slot.uid != uid:
            # Another process wrote the last one. After a restart all come at once: not so here.
            written_at = self._clock() - self._chance() * self._interval()
            slot = self._slots[key] = _slot(uid, written_at, report)
        if slot.pending is None or _order(slot.pending) <= _order(report):
            left_s = max(slot.written_at + self._interval() - self._clock(), 0.0)
            self._keep(key, slot, report, None if slot.timer else left_s)

    def _keep(self, key: Key, slot: Slot, report: Report, delay_s: float | None) -> None:
        slot.pending, slot.order, slot.told = report, _order(report), _told(report)
        if delay_s is not None:
            slot.timer = self._later(delay_s, lambda: self._start_flush(key))

    def _written(self, key: Key, uid: str, report: Report, *, look: bool) -> None:
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
            self._slots[key] = _slot(uid, self._clock(), newer or report)
            self._slots[key].pending, self._slots[key].timer = newer, timer
        if look:
            self._queue.add(key)

    def _start_flush(self, key: Key) -> None:
        task = asyncio.get_running_loop().create_task(self._flush(key))
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _flush(self, key: Key) -> None:
        """Write what waits, once it is its turn: until then newer reports take its place.

        A turn lasts twice as long as the write: progress leaves the API server half of its time.
        """
        async with self._progress_turns:
            started = self._clock()
            await self._flush_now(key)
            await asyncio.sleep(self._clock() - started)

    async def _flush_now(self, key: Key) -> None:
        slot = self._slots.get(key)
        if slot is None or slot.pending is None:
            return
        report, slot.pending, slot.timer = slot.pending, None, None
        try:
            await self._merge(key, slot.uid, report)
        except RefusedError as refusal:
            if refusal.reason == UNWRITABLE:
                self._count(refusal.reason)
                logger.warning("report dropped: %s", refusal, extra=about(key))
            self.forget(key)
        except ClusterError as error:
            logger.warning("progress was not written: %s", error, extra=about(key))
            if slot.pending is None:
                self._keep(key, slot, report, RETRY_S)


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


def _slot(uid: str, now: float, report: Report) -> Slot:
    return Slot(uid, now, _told(report), _order(report))


def _told(report: Report) -> int:
    return hash(report.model_dump_json(exclude=STEPS))


def _order(report: Report) -> tuple[int, int]:
    return report.attempt, report.sequence
