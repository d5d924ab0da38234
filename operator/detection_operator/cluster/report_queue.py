"""Decides when a trainer's report is written: at once if it matters, else in intervals.

The progress endpoint passes verified reports to it. A report is a complete snapshot, so only the
newest waiting one is kept. Every change except the progress of steps matters: then the trainer gets
its answer after the status is written.

The report that all steps are done waits for the pod's end, which follows at once, so that one write
has both. Until then the pod itself keeps the report, as its termination message.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.queue import CallLater, KeyQueue, Timer, call_later
from detection_operator.cluster.reports import Merge, ReportWriter
from detection_operator.cluster.turns import WriteTurns
from detection_operator.core.settling import END_PATIENCE_S
from detection_operator.core.state import Training
from detection_operator.errors import (
    ClusterError,
    ConflictError,
    InvalidError,
    RefusedError,
    UnreadableError,
)
from detection_operator.logs import about
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Report

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 8
MAX_WRITES_PER_S = 50.0
"""Writes per second of progress, over all trainings: if many run, each is written less often."""
CLOSE_S = 10.0
RETRY_S = 5.0
UNWRITABLE = "unwritable"
"""The reason of the refusal if the API server does not accept a report in the status."""
STEPS = {"sequence", "time", "step", "progress"}
"""The fields that change from one report to the next while only steps are made."""


@dataclass(slots=True)
class Slot:
    """One running training: when its status was last written, and the report that waits."""

    uid: str
    written_at: float
    content: int
    """A hash of the last received report, without steps."""
    order: tuple[int, int]
    """The attempt and sequence of the newest report that was received."""
    pending: Report | None = None
    timer: Timer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often the progress of one training is written, and by which clock."""

    interval_s: float
    clock: Callable[[], float] = time.monotonic
    later: CallLater = call_later
    chance: Callable[[], float] = random.random
    """Returns a number in [0, 1): spreads the first writes after a restart."""

    def interval(self, trainings: int) -> float:
        """Return the seconds between two writes of one training if this many report."""
        return max(self.interval_s, trainings / MAX_WRITES_PER_S)


class ReportQueue:
    """Takes verified reports, and keeps those that can wait."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        cache: Cache,
        queue: KeyQueue,
        writer: ReportWriter,
        pace: Pace,
        leads: Callable[[], bool] = lambda: True,
        count: Callable[[str], None] = lambda _result: None,
    ) -> None:
        """Write progress by `pace`, and put trainings that need a decision on `queue`.

        `leads` returns whether this process waits for the ends of pods; `count` counts the waiting
        reports that could not be written.
        """
        self._cache, self._queue, self._writer = cache, queue, writer
        self._pace, self._leads, self._count = pace, leads, count
        self._turns = WriteTurns(pace.clock)
        self._slots: dict[Key, Slot] = {}
        self._flushes: set[asyncio.Task[None]] = set()

    async def take(self, key: Key, uid: str, report: Report) -> bool:
        """Put a report of the training `uid` into its status; return whether it is written.

        False: it is written within the interval, unless a newer one arrives.

        Raises:
            RefusedError: the training is gone, or has another attempt now.
            ClusterError: the API refused or did not answer; the trainer must send it again.
        """
        await self._writer.check(key, uid, report)
        if self._has_only_steps(key, uid, report):
            self._defer(key, uid, report)
            return False
        merge = self._merge(key, uid, report)
        if merge.is_known:
            # A late report: its content is written already.
            return True
        if self._waits(key, uid, report, urgent=merge.is_urgent):
            return False
        await self._write_now(key, uid, report)
        return True

    def _merge(self, key: Key, uid: str, report: Report) -> Merge:
        try:
            return self._writer.merge(key, uid, report)
        except UnreadableError as error:
            unready = HTTPStatus.SERVICE_UNAVAILABLE
            wait_s = self._pace.interval_s
            raise RefusedError(unready, "unreadable", str(error), retry_after_s=wait_s) from error

    async def _write_now(self, key: Key, uid: str, report: Report) -> None:
        """Write a report at once.

        Raises:
            RefusedError: it cannot be written, now or later.
            ClusterError: the API refused or did not answer; it can be sent again.
        """
        try:
            await self._write_in_turn(key, uid, report)
        except InvalidError as error:
            # Sent again, it would be refused again, and later reports must not wait for it.
            self.discard(key)
            msg = f"the API server refuses the status with this report: {error}"
            raise RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, UNWRITABLE, msg) from error

    async def _write_in_turn(self, key: Key, uid: str, report: Report) -> None:
        for _ in range(MAX_CONFLICTS):
            async with self._turns.any(key):
                if await self._write(key, uid, report):
                    return
        msg = f"the status changed under each of {MAX_CONFLICTS} attempts to write it"
        raise ConflictError(f"writing the report of {key}", HTTPStatus.CONFLICT, msg)

    async def _write(self, key: Key, uid: str, report: Report) -> bool:
        """Write a report into the current status; False: another process wrote in between."""
        merge = self._merge(key, uid, report)
        if merge.is_known:
            return True
        written = await self._writer.write(key, merge)
        if written is None:
            return False
        self._written(key, uid, report, look=merge.is_urgent or written.decision is None)
        await self._writer.announce(merge, written)
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
        """Return `training` with the report that waits: a decision must use everything known."""
        slot = self._slots.get(Key(training.identity.namespace, training.identity.name))
        if slot is None or slot.pending is None or slot.uid != training.identity.uid:
            return training
        attempt = training.status.current_attempt
        if attempt is None or attempt.number != slot.pending.attempt:
            return training
        return self._writer.merged(training, slot.pending)

    def forget_gone(self) -> None:
        """Drop what is kept for trainings that are gone; only a leader reconciles each of them."""
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
        """Write what waits, for CLOSE_S at most; the next report has the rest."""
        waiting = [key for key, slot in self._slots.items() if slot.pending]
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(self._flush(key) for key in waiting))
        for key in list(self._slots):
            self.forget(key)

    def reporting(self) -> int:
        """Return how many trainings report to this replica."""
        return len(self._slots)

    def _interval(self) -> float:
        return self._pace.interval(self.reporting())

    def _has_only_steps(self, key: Key, uid: str, report: Report) -> bool:
        """Return whether a report equals the one before, except for its steps.

        This needs no read of the status, which most reports do not need.
        """
        slot = self._slots.get(key)
        known = slot is not None and slot.uid == uid and slot.order < _order(report)
        return known and slot is not None and slot.content == _content_of(report)

    def _waits(self, key: Key, uid: str, report: Report, *, urgent: bool) -> bool:
        """Keep a report that need not be written at once; return whether it waits."""
        if self._ends_soon(Ref(key.namespace, uid), report):
            slot = self._slots.setdefault(key, _slot(uid, self._pace.clock(), report))
            if slot.timer:
                slot.timer.cancel()
            self._keep(key, slot, report, END_PATIENCE_S)
            return True
        if not urgent:
            self._defer(key, uid, report)
        return not urgent

    def _ends_soon(self, training: Ref, report: Report) -> bool:
        """Return whether the pod of a trainer that has done all steps is about to end by itself."""
        done = report.outcome is not None and report.outcome.exit_code is ExitCode.COMPLETED
        if not done or not self._leads():
            return False
        return all(pod.pod.deleting_since is None for pod in self._cache.pods(training))

    def _defer(self, key: Key, uid: str, report: Report) -> None:
        """Keep a report that contains only progress until its time has come."""
        slot = self._slots.get(key)
        if slot is None or slot.uid != uid:
            # Another process wrote the last one. After a restart all reports would come at once:
            # spread them.
            written_at = self._pace.clock() - self._pace.chance() * self._interval()
            slot = self._slots[key] = _slot(uid, written_at, report)
        if slot.pending is None or _order(slot.pending) <= _order(report):
            left_s = max(slot.written_at + self._interval() - self._pace.clock(), 0.0)
            self._keep(key, slot, report, None if slot.timer else left_s)

    def _keep(self, key: Key, slot: Slot, report: Report, delay_s: float | None) -> None:
        slot.pending, slot.order, slot.content = report, _order(report), _content_of(report)
        if delay_s is not None:
            slot.timer = self._pace.later(delay_s, lambda: self._start_flush(key))

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
            self._slots[key] = _slot(uid, self._pace.clock(), newer or report)
            self._slots[key].pending, self._slots[key].timer = newer, timer
        if look:
            self._queue.add(key)

    def _start_flush(self, key: Key) -> None:
        task = asyncio.get_running_loop().create_task(self._flush(key))
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _flush(self, key: Key) -> None:
        """Write the waiting report when it is its turn; until then newer reports replace it."""
        async with self._turns.progress():
            await self._flush_now(key)

    async def _flush_now(self, key: Key) -> None:
        slot = self._slots.get(key)
        if slot is None or slot.pending is None:
            return
        report, slot.pending, slot.timer = slot.pending, None, None
        try:
            await self._write_now(key, slot.uid, report)
        except RefusedError as refusal:
            if refusal.reason == UNWRITABLE:
                self._count(refusal.reason)
                logger.warning("report dropped: %s", refusal, extra=about(key))
            self.forget(key)
        except ClusterError as error:
            logger.warning("progress was not written: %s", error, extra=about(key))
            if slot.pending is None:
                self._keep(key, slot, report, RETRY_S)


def _slot(uid: str, now: float, report: Report) -> Slot:
    return Slot(uid, now, _content_of(report), _order(report))


def _content_of(report: Report) -> int:
    return hash(report.model_dump_json(exclude=STEPS))


def _order(report: Report) -> tuple[int, int]:
    return report.attempt, report.sequence
