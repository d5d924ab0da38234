"""The loop of a worker: take a key, gather, plan, write the status, act, post Events; repeat."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus

from detection_operator.cluster.act.execute import PlanExecutor
from detection_operator.cluster.api.resources import TRAININGS, Key
from detection_operator.cluster.api.telemetry import Telemetry
from detection_operator.cluster.decider import Decider
from detection_operator.cluster.decision_log import log_decision
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gathered, Gatherer
from detection_operator.cluster.observe.quarantine import Held
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.report_queue import ReportQueue
from detection_operator.core.actions import Plan
from detection_operator.core.case import end_is_recorded
from detection_operator.core.settling import LONGEST_PATIENCE_S, patience_s
from detection_operator.core.state import Training
from detection_operator.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    OperatorError,
    UnreadableError,
)
from detection_operator.logs import about

logger = logging.getLogger(__name__)

MAX_CONFLICTS = 5
MANY = 100
"""With this many trainings in the queue, they are handled before the status of a start is written.
"""


class Reconciler:
    """Brings one training after another closer to its spec."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        cache: Cache,
        queue: KeyQueue,
        gatherer: Gatherer,
        decider: Decider,
        executor: PlanExecutor,
        reports: ReportQueue,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Measure with `clock` how long a status stays unwritten."""
        self._cache, self._queue, self._reports = cache, queue, reports
        self._gatherer, self._decider, self._executor = gatherer, decider, executor
        self._writer, self._clock = executor.writer, clock
        self._unsaid_since: dict[Key, float] = {}

    async def reconcile_or_report(self, key: Key) -> float | None:
        """Reconcile, and report in the conditions what cannot be read."""
        try:
            return await self.reconcile(key)
        except UnreadableError as error:
            if (record := self._cache.training(key)) is not None:
                held = Held(TRAININGS, key, record.version, frozenset(), str(error))
                self._cache.quarantine.hold(held)
            await self._writer.report_unreadable(key, str(error), self._decider.now())
            raise

    async def reconcile(self, key: Key) -> float | None:
        """Reconcile one training; return the seconds until the next time.

        Raises:
            ClusterError: the API refused or did not answer; all of it may be repeated.
            ForeignObjectError: another object has a name that the training needs.
            UnreadableError: something that the decision needs cannot be read.
        """
        for _ in range(MAX_CONFLICTS):
            gathered = await self._gatherer.gather(key)
            if gathered is None:
                self._forget(key)
                return None
            training = gathered.observed.training
            known = replace(
                gathered.observed,
                training=self._reports.overlay(training),
                obstacle=self._executor.obstacles.of(key),
            )
            plan = self._decider.decide(known)
            if (left_s := self._patience_s(key, training, plan)) > 0:
                return _soonest(gathered, left_s, plan.recheck_after_s)
            try:
                wrote = await self._record(key, training, plan)
            except ConflictError:
                await self._writer.refresh(key)
                continue
            except NotFoundError:
                await self._writer.refresh(key)
                return None
            if wrote or plan.actions:
                log_decision(known, plan)
            attempt = plan.status.current_attempt
            if attempt is not None and end_is_recorded(attempt):
                # The trainer has sent its last report: the decision was based on it.
                self._reports.forget(key)
            await self._executor.apply(key, replace(known.training, status=plan.status), plan)
            if self._cache.drop_ended_orphans(gathered.ended_orphans):
                self._queue.add(key)
            return _soonest(gathered, plan.recheck_after_s)
        msg = f"the status changed during each of {MAX_CONFLICTS} attempts to write it"
        raise ConflictError(f"reconciling {key}", HTTPStatus.CONFLICT, msg)

    async def _record(self, key: Key, training: Training, plan: Plan) -> bool:
        """Write the plan's status; return whether it differed.

        Raises:
            ConflictError: decide again, with a newer state or without a report.
            NotFoundError: the training is gone.
        """
        try:
            wrote = await self._writer.write(training, plan.status)
        except InvalidError as error:
            # A report that cannot be written must delay nothing, not even a suspension.
            if not self._reports.discard(key):
                raise
            what = f"writing the status of {key} with a report"
            raise ConflictError(what, error.status, error.message) from error
        if not wrote:
            await self._executor.confirm(training, plan)
        return wrote

    def _patience_s(self, key: Key, training: Training, plan: Plan) -> float:
        """Return how many more seconds the plan's status may stay unwritten; 0: write it now."""
        patience = patience_s(training.status, plan)
        if not patience:
            self._unsaid_since.pop(key, None)
            return 0.0
        waited_s = self._clock() - self._unsaid_since.setdefault(key, self._clock())
        left_s = patience - waited_s
        if left_s <= 0 and self._queue.depth() > MANY:
            # Wait as long again as until now: few decisions, however long the start takes.
            left_s = min(waited_s, LONGEST_PATIENCE_S - waited_s)
        if left_s > 0:
            return left_s
        del self._unsaid_since[key]
        return 0.0

    def leave(self, key: Key) -> None:
        """Plan nothing for a training for now; what is kept for it stays."""
        self._gatherer.leave(key)

    def _forget(self, key: Key) -> None:
        self._reports.forget(key)
        self._executor.obstacles.clear(key)
        self._unsaid_since.pop(key, None)


class ReconcileLoop:
    """Takes keys from the queue and reconciles them; several tasks may run `work` at once."""

    def __init__(
        self,
        queue: KeyQueue,
        reconciler: Reconciler,
        telemetry: Telemetry,
        may_plan: Callable[[str], bool] = lambda _namespace: True,
    ) -> None:
        """Retry failures through `queue`; plan only in namespaces that `may_plan`."""
        self._queue, self._reconciler, self._telemetry = queue, reconciler, telemetry
        self._may_plan = may_plan

    async def work(self) -> None:
        """Take keys from the queue until cancelled; no failure ends it."""
        while True:
            key = await self._queue.get()
            try:
                await self._attend(key)
            finally:
                self._queue.done(key)
            # A training that needs nothing never yields: without this, reconciling thousands of
            # them would delay events, reports and the lease until the end.
            await asyncio.sleep(0)

    async def _attend(self, key: Key) -> None:
        started = time.monotonic()
        error = ""
        try:
            recheck_after_s = await self._reconcile_if_listed(key)
        except asyncio.CancelledError:
            raise
        except OperatorError as problem:
            error = getattr(problem, "reason", type(problem).__name__)
            delay_s = self._queue.retry(key)
            logger.warning("%s; retrying in %.1f s", problem, delay_s, extra=about(key))
        except Exception as problem:
            # A bug that affects one training must not stop the others.
            error = type(problem).__name__
            delay_s = self._queue.retry(key)
            logger.exception("reconciling failed; retrying in %.1f s", delay_s, extra=about(key))
        else:
            self._queue.settle(key, recheck_after_s)
        self._telemetry.reconciled(time.monotonic() - started, error)

    async def _reconcile_if_listed(self, key: Key) -> float | None:
        if not self._may_plan(key.namespace):
            # The cached state may be old. All are queued once the namespace can be listed again.
            self._reconciler.leave(key)
            return None
        return await self._reconciler.reconcile_or_report(key)


def _soonest(gathered: Gathered, *delays_s: float | None) -> float | None:
    wanted = (*delays_s, gathered.recheck_after_s)
    return min((delay for delay in wanted if delay is not None), default=None)
