"""Reports into statuses: what is written at once, what waits, and what is refused."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster import turns as module
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key, Object
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.parse import parse_training
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.records import TrainingRecord
from detection_operator.cluster.report_queue import Pace, ReportQueue
from detection_operator.cluster.reports import ReportWriter
from detection_operator.core.state import Training
from detection_operator.errors import ConflictError, InvalidError, RefusedError, UnavailableError
from detection_trainer.contract.report import Report
from tests.support.operator.cluster_objects import (
    UID,
    attempt_status,
    job,
    newer,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster

TREES = Key("vision", "trees")
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DIGEST = "sha256:" + "0" * 64


def report(step: int, sequence: int, **more: Any) -> Report:
    fields = {
        "attempt": 1,
        "sequence": sequence,
        "time": "2026-11-24T10:00:00Z",
        "step": step,
        "targetSteps": 100,
        "resumedFromStep": 0,
        "progress": {"loss": 0.5},
    }
    return Report.model_validate(fields | more)


def saved(step: int) -> Object:
    record = {
        "step": step,
        "uri": f"s3://runs/trees/step-{step}",
        "digest": DIGEST,
        "savedAt": "2026-11-24T10:00:00Z",
    }
    return {"checkpoints": [record], "checkpointCount": 1}


class Handle:
    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Scene:
    """A queue of reports with a clock of the test's own."""

    def __init__(self, interval_s: float = 30.0, *, leads: bool = True, **spec: Any) -> None:
        self.api, self.cache, self.queue = FakeCluster(), Cache(), KeyQueue()
        self.now, self.timers, self.delays = 1000.0, list[Handle](), list[float]()
        self.counted: list[str] = []
        self.cache.apply(
            TRAININGS, self.api.put(TRAININGS, stored_training(status=attempt_status(), **spec))
        )
        self.statuses = StatusWriter(self.api, self.cache, self.queue)
        self.reports = ReportQueue(
            cache=self.cache,
            queue=self.queue,
            writer=ReportWriter(
                cache=self.cache,
                writer=self.statuses,
                events=EventPoster(self.api),
                now=lambda: NOW,
            ),
            pace=Pace(
                interval_s=interval_s,
                clock=lambda: self.now,
                later=self._later,
                chance=lambda: 0.25,
            ),
            leads=lambda: leads,
            count=self.counted.append,
        )

    def _later(self, delay_s: float, call: Callable[[], None]) -> Handle:
        self.delays.append(delay_s)
        self.timers.append(Handle(call))
        return self.timers[-1]

    async def take(self, taken: Report) -> bool:
        return await self.reports.take(TREES, UID, taken)

    async def fire(self) -> None:
        for handle in [h for h in self.timers if not h.cancelled]:
            self.timers.remove(handle)
            handle.call()
        await asyncio.gather(*self.reports._flushes)

    @property
    def writes(self) -> int:
        return len(self.api.called("patch", TRAININGS))

    @property
    def status(self) -> Object:
        found = self.api.find(TRAININGS, "trees")
        assert found is not None
        status: Object = found["status"]
        return status


async def test_the_first_report_is_written_at_once_and_the_training_decided() -> None:
    scene = Scene()
    assert await scene.take(report(1, 1))
    assert scene.status["step"] == 1
    assert scene.queue.depth() == 1


async def test_a_report_is_written_where_the_training_would_not_be_started_today() -> None:
    scene = Scene(evaluation={"everySteps": 10})
    assert await scene.take(report(1, 1, **saved(1)))
    assert scene.status["step"] == 1
    assert scene.status["phase"] == "Running"


async def test_progress_waits_for_its_time_and_only_the_newest_is_written() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    scene.now += 1
    assert not await scene.take(report(2, 2))
    assert not await scene.take(report(3, 3))
    assert (scene.writes, scene.status["step"]) == (1, 1)
    scene.now += 30
    await scene.fire()
    assert (scene.writes, scene.status["step"]) == (2, 3)
    await scene.fire()
    assert scene.writes == 2


async def test_records_of_deleted_trainings_are_dropped() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    scene.reports.forget_gone()
    assert scene.reports.reporting() == 1
    scene.cache.forget(TRAININGS, UID)
    scene.reports.forget_gone()
    assert scene.reports.reporting() == 0


async def test_progress_waits_without_a_read_of_its_status(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = Scene()
    await scene.take(report(10, 1, **saved(10)))
    monkeypatch.setattr(TrainingRecord, "parse", forbidden)
    assert not await scene.take(report(11, 2, **saved(10)))
    with pytest.raises(AssertionError, match="was read"):
        await scene.take(report(20, 3, **saved(20)))


def forbidden(_self: object) -> None:
    raise AssertionError("the status was read")


async def test_due_progress_is_written_at_its_turn_and_not_waited_for() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    scene.now += 31
    assert not await scene.take(report(2, 2))
    assert scene.delays == [0.0]
    await scene.fire()
    assert (scene.writes, scene.status["step"]) == (2, 2)


async def test_after_a_restart_progress_is_spread_over_the_interval() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    scene.reports.forget(TREES)
    assert not await scene.take(report(2, 2))
    assert scene.delays == [30.0 * 0.75]


async def test_a_checkpoint_is_written_at_once_with_the_waiting_progress() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    await scene.take(report(5, 2))
    assert await scene.take(report(10, 3, **saved(10)))
    assert scene.status["latestCheckpoint"]["step"] == 10
    await scene.fire()
    assert scene.writes == 2


async def test_a_report_that_overtakes_another_wins() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    await scene.take(report(9, 9))
    await scene.take(report(4, 4))
    assert await scene.take(report(10, 8, **saved(8))), "urgent, yet older than what waits"
    scene.now += 31
    await scene.fire()
    assert scene.status["currentAttempt"]["sequence"] == 9


async def test_a_late_or_repeated_report_is_acknowledged_and_changes_nothing() -> None:
    scene = Scene()
    await scene.take(report(5, 5))
    assert await scene.take(report(5, 5))
    assert await scene.take(report(3, 3))
    assert scene.writes == 1


SAVED_AND_STOPPED = {"exitCode": 40, "reason": "Saved", "message": "saved"}
DONE = {"exitCode": 0, "reason": "Completed", "message": "done"}


async def test_the_final_report_is_recorded_before_it_is_acknowledged() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    assert await scene.take(report(100, 2, outcome=SAVED_AND_STOPPED))
    assert scene.status["currentAttempt"]["outcome"]["exitCode"] == 40


async def test_that_all_is_done_waits_for_the_end_of_the_pod_and_decisions_know_it() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    assert not await scene.take(report(100, 2, outcome=DONE))
    training = scene.reports.overlay(parse_training(stored_training(status=attempt_status())))
    attempt = training.status.current_attempt
    assert attempt is not None
    assert attempt.outcome is not None
    assert scene.writes == 1
    await scene.fire()
    assert scene.writes == 2, "the pod does not end"
    assert scene.status["currentAttempt"]["outcome"]["exitCode"] == 0


async def test_what_waits_for_a_pods_end_is_written_when_the_operator_ends() -> None:
    scene = Scene()
    await scene.take(report(100, 2, outcome=DONE))
    await scene.reports.close()
    assert scene.status["currentAttempt"]["outcome"]["exitCode"] == 0


@pytest.mark.parametrize("leads", [True, False], ids=["its pod is being deleted", "a standby"])
async def test_completion_is_written_at_once_if_it_could_be_lost(*, leads: bool) -> None:
    scene = Scene(leads=leads)
    if leads:
        scene.cache.apply(JOBS, job())
        scene.cache.apply(PODS, pod(deletionTimestamp="2026-11-24T10:00:00Z"))
    assert await scene.take(report(100, 2, outcome=DONE))
    assert scene.status["currentAttempt"]["outcome"]["exitCode"] == 0


async def test_the_final_report_is_not_acknowledged_while_the_api_does_not_accept_it() -> None:
    scene = Scene()
    scene.api.failures["patch", "detectiontrainings"] = UnavailableError("PATCH", 503, "down")
    with pytest.raises(UnavailableError):
        await scene.take(report(100, 2, outcome=SAVED_AND_STOPPED))


async def test_another_writer_in_between_loses_nothing() -> None:
    scene = Scene()
    others = [stored_training(status=attempt_status() | {"phase": "Starting"})]

    def interfere() -> None:
        if others:
            scene.api.put(TRAININGS, others.pop())

    scene.api.before_status = interfere
    assert await scene.take(report(1, 1))
    assert (scene.status["phase"], scene.status["step"]) == ("Starting", 1)


async def test_endless_conflicts_are_left_to_a_retry_of_the_trainer() -> None:
    scene = Scene()
    body = stored_training(status=attempt_status())
    scene.api.before_status = lambda: scene.api.put(TRAININGS, body)
    with pytest.raises(ConflictError, match="status changed"):
        await scene.take(report(1, 1))


async def test_an_attempt_that_is_not_current_is_asked_to_stop() -> None:
    scene = Scene()
    with pytest.raises(RefusedError, match="attempt 2 is not the current one") as refused:
        await scene.take(report(1, 1, attempt=2))
    assert (refused.value.status, refused.value.reason) == (409, "stale_attempt")


async def test_a_report_is_accepted_although_the_watch_lags_behind() -> None:
    scene = Scene()
    scene.api.put(TRAININGS, stored_training(status=attempt_status(2)))
    assert await scene.take(report(1, 1, attempt=2))


@pytest.mark.parametrize("known", [True, False], ids=["its uid is another's", "it is not known"])
async def test_a_training_that_no_longer_exists_is_reported(*, known: bool) -> None:
    scene = Scene()
    scene.api.objects.clear()
    if not known:
        scene.cache.forget(TRAININGS, UID)
    with pytest.raises(RefusedError) as refused:
        await scene.reports.take(TREES, "another" if known else UID, report(1, 1))
    assert refused.value.status == 404


async def test_decisions_know_what_waits() -> None:
    scene = Scene()
    training = parse_training(stored_training(status=attempt_status()))
    assert scene.reports.overlay(training) is training
    await scene.take(report(1, 1))
    await scene.take(report(7, 2))
    assert scene.reports.overlay(training).status.step == 7
    later = parse_training(stored_training(status=attempt_status(2)))
    assert scene.reports.overlay(later) is later, "of the attempt before"
    scene.reports.forget(TREES)
    assert scene.reports.overlay(training) is training
    assert all(handle.cancelled for handle in scene.timers)


async def test_what_waits_is_written_at_the_end() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    await scene.take(report(7, 2))
    await scene.reports.close()
    assert scene.status["step"] == 7


async def test_progress_that_could_not_be_written_is_retried() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    await scene.take(report(7, 2))
    scene.api.failures["patch", "detectiontrainings"] = UnavailableError("PATCH", 503, "down")
    await scene.fire()
    assert scene.status["step"] == 1
    scene.api.failures.clear()
    await scene.fire()
    assert scene.status["step"] == 7


async def test_what_waits_for_an_attempt_that_ended_is_dropped() -> None:
    scene = Scene()
    await scene.take(report(1, 1))
    await scene.take(report(7, 2))
    body = scene.api.put(TRAININGS, stored_training(status=attempt_status(2)))
    scene.cache.apply(TRAININGS, newer(body, 0))
    await scene.fire()
    assert scene.writes == 1


async def test_where_many_run_each_is_written_less_often() -> None:
    scene = Scene(interval_s=0.0)
    for number in range(100):
        name, uid = f"t{number}", f"uid-{number}"
        body = stored_training(name, uid=uid, status=attempt_status())
        scene.cache.apply(TRAININGS, scene.api.put(TRAININGS, body))
        await scene.reports.take(Key("vision", name), uid, report(1, 1))
    assert not await scene.reports.take(Key("vision", "t0"), "uid-0", report(2, 2))
    scene.now += 3
    assert not await scene.reports.take(Key("vision", "t0"), "uid-0", report(3, 3))
    await scene.fire()
    written = scene.api.find(TRAININGS, "t0")
    assert written is not None
    assert written["status"]["step"] == 3


async def test_few_reports_are_written_at_once_and_those_beyond_the_queue_are_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WRITES_AT_ONCE", 1)
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    scene = Scene()
    answers, began = asyncio.Event(), list[str]()

    async def slow(training: Training, _: Status) -> bool:
        began.append(training.identity.name)
        await answers.wait()
        return True

    monkeypatch.setattr(scene.statuses, "write", slow)
    for name in ("t1", "t2"):
        body = stored_training(name, uid=name, status=attempt_status())
        scene.cache.apply(TRAININGS, scene.api.put(TRAININGS, body))
    first = asyncio.create_task(scene.take(report(1, 1)))
    second = asyncio.create_task(scene.reports.take(Key("vision", "t1"), "t1", report(1, 1)))
    for _ in range(5):
        await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="send the newest again"):
        await scene.reports.take(Key("vision", "t2"), "t2", report(1, 1))
    assert began == ["trees"]
    answers.set()
    assert await first
    assert await second
    assert began == ["trees", "t1"]


async def test_progress_that_waits_for_its_turn_is_replaced_by_newer_progress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PROGRESS_AT_ONCE", 1)
    scene = Scene()
    await scene.take(report(1, 1))
    await scene.take(report(2, 2))
    scene.now += 31
    async with scene.reports._turns.progress():
        [handle] = [h for h in scene.timers if not h.cancelled]
        handle.call()
        await asyncio.sleep(0)
        assert not await scene.take(report(3, 3)), "its turn comes"
    await asyncio.gather(*scene.reports._flushes)
    assert (scene.writes, scene.status["step"]) == (2, 3)


INVALID = InvalidError("PATCH", 422, "status.step: must be less")


async def test_a_report_that_the_api_refuses_as_invalid_is_dropped_and_the_next_is_written() -> (
    None
):
    scene = Scene()
    scene.api.failures["patch", "detectiontrainings"] = INVALID
    with pytest.raises(RefusedError, match="must be less") as refused:
        await scene.take(report(5, 1))
    assert (refused.value.status, refused.value.reason) == (422, "unwritable")
    scene.api.failures.clear()
    assert await scene.take(report(6, 2))
    assert scene.status["step"] == 6


async def test_progress_that_the_api_refuses_as_invalid_is_counted_and_not_retried() -> None:
    scene = Scene()
    await scene.take(report(5, 1))
    assert not await scene.take(report(6, 2))
    scene.api.failures["patch", "detectiontrainings"] = INVALID
    writes = scene.writes
    await scene.fire()
    assert scene.counted == ["unwritable"]
    await scene.fire()
    assert scene.writes == writes + 1
    training = scene.cache.training(TREES)
    assert training is not None
    assert scene.reports.overlay(training.parse()).status.step == 5, "decisions forget it"
