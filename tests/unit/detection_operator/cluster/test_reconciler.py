"""The worker's loop: status first, conflicts decided again, no failure ends it."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from detection_operator.cluster.act.apply import Applier
from detection_operator.cluster.act.execute import PlanExecutor
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key
from detection_operator.cluster.decider import Decider
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.cluster.reconciler import MANY, MAX_CONFLICTS, ReconcileLoop, Reconciler
from detection_operator.cluster.report_queue import Pace, ReportQueue
from detection_operator.cluster.reports import ReportWriter
from detection_operator.core.actions import Plan, StartAttempt
from detection_operator.core.plan import plan
from detection_operator.core.settling import LONGEST_PATIENCE_S, PATIENCE_S
from detection_operator.core.state import Observed, PolicySettings
from detection_operator.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    UnavailableError,
)
from detection_operator.logs import JsonFormatter
from detection_operator.manifests import Manifests
from detection_trainer.contract.report import Report
from tests.support.operator.cluster_objects import (
    JOB,
    JOB_UID,
    POD_UID,
    REF,
    UID,
    attempt_status,
    container_status,
    newer,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.telemetry import Silence

TREES = Key("vision", "trees")
SETTINGS = PolicySettings(default_image="trainer:1", report_url="http://operator:8080")
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
Planner = Callable[[Observed], Plan]
LAST_REPORT = Report.model_validate(
    {
        "attempt": 1,
        "sequence": 1,
        "time": "2026-11-24T10:00:00Z",
        "step": 5,
        "targetSteps": 100,
        "resumedFromStep": 0,
        "progress": {},
    }
)


@dataclass
class Measured(Silence):
    errors: list[str] = field(default_factory=list)
    counted: asyncio.Event = field(default_factory=asyncio.Event)

    def reconciled(self, seconds: float, error: str) -> None:
        assert seconds >= 0
        self.errors.append(error)
        self.counted.set()


class Scene:
    """A reconciler whose plan is the test's."""

    def __init__(self, plan: Planner, **training: Any) -> None:
        self.api, self.cache, self.queue = FakeCluster(), Cache(), KeyQueue()
        self.telemetry = Measured()
        self.seen: list[Observed] = []
        self.clock_s, self.may_plan = 0.0, True
        body = self.api.put(TRAININGS, stored_training(**training))
        self.cache.apply(TRAININGS, body)
        writer, events = StatusWriter(self.api, self.cache, self.queue), EventPoster(self.api)
        self.reports = ReportQueue(
            cache=self.cache,
            queue=self.queue,
            writer=ReportWriter(cache=self.cache, writer=writer, events=events),
            pace=Pace(interval_s=30),
        )

        def noted(observed: Observed, settings: PolicySettings, now: datetime) -> Plan:
            assert settings is SETTINGS
            assert now == NOW
            self.seen.append(observed)
            return plan(observed)

        self.reconciler = Reconciler(
            cache=self.cache,
            queue=self.queue,
            gatherer=Gatherer(self.api, self.cache, WarningEvents(self.api, self.queue)),
            decider=Decider(noted, SETTINGS, lambda: NOW),
            executor=PlanExecutor(
                writer,
                Applier(self.api, self.cache, events, Manifests(SETTINGS)),
                lambda: NOW,
            ),
            reports=self.reports,
            clock=lambda: self.clock_s,
        )
        self.loop = ReconcileLoop(
            self.queue, self.reconciler, self.telemetry, lambda _namespace: self.may_plan
        )

    async def work_until_idle(self) -> None:
        worker = asyncio.create_task(self.loop.work())
        await self.telemetry.counted.wait()
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


def step_to(step: int, **more: Any) -> Planner:
    def plan(observed: Observed) -> Plan:
        status = observed.training.status.model_copy(update={"step": step})
        return Plan(status, **more)

    return plan


def leave(observed: Observed) -> Plan:
    return Plan(observed.training.status)


async def test_a_report_that_cannot_be_written_delays_no_decision() -> None:
    scene = Scene(step_to(7), status=attempt_status())
    await scene.reports.take(TREES, UID, LAST_REPORT)
    newer_report = LAST_REPORT.model_copy(update={"sequence": 2, "step": 6})
    assert not await scene.reports.take(TREES, UID, newer_report)
    refusals = [InvalidError("PATCH", 422, "no"), None]

    def refuse_once() -> None:
        if refusal := refusals.pop(0):
            raise refusal

    scene.api.before_status = refuse_once
    await scene.reconciler.reconcile(TREES)
    assert [observed.training.status.step for observed in scene.seen] == [6, 5]
    assert refusals == []


async def test_a_decision_that_cannot_be_written_is_an_error_where_no_report_waits() -> None:
    scene = Scene(step_to(7), status=attempt_status())
    scene.api.failures["patch", "detectiontrainings"] = InvalidError("PATCH", 422, "no")
    with pytest.raises(InvalidError):
        await scene.reconciler.reconcile(TREES)


async def test_the_status_is_on_record_before_anything_is_made() -> None:
    scene = Scene(step_to(5, actions=(StartAttempt(1, JOB, "trainer:1"),)), status=attempt_status())
    assert await scene.reconciler.reconcile(TREES) is None
    verbs = [(verb, plural) for verb, plural, _ in scene.api.calls]
    written = verbs.index(("patch", "detectiontrainings"))
    assert written < verbs.index(("create", "jobs"))


async def test_a_job_is_not_created_again_on_an_older_state() -> None:
    def make_again(observed: Observed) -> Plan:
        current = observed.training.status.current_attempt
        again = current is not None and current.number == 1
        made = (StartAttempt(1, JOB, "trainer:1"),) if again else ()
        return Plan(observed.training.status, made)

    scene = Scene(make_again, status=attempt_status())
    scene.api.put(TRAININGS, stored_training(status=attempt_status(2)))
    await scene.reconciler.reconcile(TREES)
    numbers = [seen.training.status.current_attempt for seen in scene.seen]
    assert [attempt.number for attempt in numbers if attempt] == [1, 2], "decided again"
    assert scene.api.called("create", JOBS) == []
    assert scene.api.called("get", TRAININGS) == ["trees", "trees"], "to confirm, then to decide"


async def test_a_job_is_created_again_after_a_read_confirms_the_state() -> None:
    made = (StartAttempt(1, JOB, "trainer:1"),)
    scene = Scene(lambda seen: Plan(seen.training.status, made), status=attempt_status())
    await scene.reconciler.reconcile(TREES)
    verbs = [verb for verb, _, _ in scene.api.calls]
    assert "patch" not in verbs
    assert verbs.index("get") < verbs.index("create")


async def test_an_unchanged_status_is_not_written() -> None:
    scene = Scene(leave)
    await scene.reconciler.reconcile(TREES)
    assert scene.api.calls == []


async def test_on_a_conflict_it_reads_again_and_decides_again() -> None:
    scene = Scene(step_to(5))
    others = [stored_training(steps=200)]

    def interfere() -> None:
        if others:
            scene.api.put(TRAININGS, others.pop())

    scene.api.before_status = interfere
    await scene.reconciler.reconcile(TREES)
    specs = [seen.training.spec for seen in scene.seen]
    assert [spec.steps for spec in specs if spec] == [100, 200]
    stored = scene.api.find(TRAININGS, "trees")
    assert stored is not None
    assert stored["status"]["step"] == 5


async def test_conflicts_without_end_are_left_for_later() -> None:
    scene = Scene(step_to(5))
    scene.api.before_status = lambda: scene.api.put(TRAININGS, stored_training())
    with pytest.raises(ConflictError, match=f"each of {MAX_CONFLICTS} attempts"):
        await scene.reconciler.reconcile(TREES)


async def test_a_training_that_was_deleted_meanwhile_is_forgotten() -> None:
    scene = Scene(step_to(5))
    scene.api.objects.clear()
    assert await scene.reconciler.reconcile(TREES) is None
    assert scene.cache.training(TREES) is None
    assert await scene.reconciler.reconcile(TREES) is None


async def test_a_training_whose_deletion_is_blocked_is_still_decided() -> None:
    scene = Scene(leave)
    going = stored_training()
    going["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    scene.cache.apply(TRAININGS, newer(going, 500))
    await scene.reconciler.reconcile(TREES)
    [seen] = scene.seen
    assert seen.training.deleting


async def test_an_api_server_that_fails_creates_is_reported_after_a_few() -> None:
    scene = Scene(step_to(5, actions=(StartAttempt(1, JOB, "trainer:1"),)), status=attempt_status())
    failure = UnavailableError("POST", 500, "failed calling webhook: connection refused")
    scene.api.failures["create", "jobs"] = failure
    for _ in range(4):
        with pytest.raises(UnavailableError):
            await scene.reconciler.reconcile(TREES)
    obstacles = [seen.obstacle for seen in scene.seen]
    assert [bool(obstacle) for obstacle in obstacles] == [False, False, False, True]
    assert "failed calling webhook" in str(obstacles[-1])


async def test_an_object_that_is_invalid_is_known_to_be_by_the_next_decision() -> None:
    scene = Scene(step_to(5, actions=(StartAttempt(1, JOB, "trainer:1"),)), status=attempt_status())
    scene.api.failures["create", "jobs"] = InvalidError("POST", 422, "requests above limits")
    for _ in range(2):
        with pytest.raises(InvalidError):
            await scene.reconciler.reconcile(TREES)
    obstacle = scene.seen[-1].obstacle
    assert obstacle is not None
    assert (obstacle.is_invalid, obstacle.generation) == (True, 1)


async def test_the_next_decision_is_at_the_earliest_time_requested() -> None:
    scene = Scene(step_to(5, recheck_after_s=300.0), status=attempt_status())
    assert await scene.reconciler.reconcile(TREES) == 300.0
    source = {"configMapKeyRef": {"name": "trees", "key": "pipeline.config"}}
    unsaid = dict.fromkeys(("model", "dataset", "steps", "batchSize"))
    scene = Scene(step_to(5, recheck_after_s=300.0), pipelineConfig=source, **unsaid)
    assert await scene.reconciler.reconcile(TREES) == 10.0, "its ConfigMap is not there"


async def test_an_orphans_final_report_is_kept_until_its_status_is_written() -> None:
    def start(observed: Observed) -> Plan:
        return Plan(observed.training.status.model_copy(update={"phase": "Starting"}))

    scene = Scene(start, status=attempt_status(jobUID=JOB_UID) | {"phase": "Queued"})
    scene.cache.apply(PODS, pod())
    scene.cache.delete(PODS, newer(pod(status=container_status(terminated={"exitCode": 40}))))
    assert await scene.reconciler.reconcile(TREES) == PATIENCE_S
    assert [record.pod.uid for record in scene.cache.pods(REF)] == [POD_UID]
    scene.clock_s = PATIENCE_S
    await scene.reconciler.reconcile(TREES)
    assert scene.cache.pods(REF) == []


async def test_an_orphans_end_is_seen_once_then_dropped_and_decided_again() -> None:
    scene = Scene(leave, status=attempt_status(jobUID=JOB_UID))
    scene.cache.apply(PODS, pod())
    scene.cache.delete(PODS, newer(pod(status=container_status(terminated={"exitCode": 40}))))
    await scene.reconciler.reconcile(TREES)
    assert [orphan.uid for orphan in scene.seen[0].orphans] == [POD_UID]
    assert scene.queue.depth() == 1
    await scene.reconciler.reconcile(TREES)
    assert scene.seen[1].orphans == ()
    assert scene.cache.pods(REF) == []


async def test_an_orphan_that_ends_while_a_decision_is_written_is_not_dropped_unseen() -> None:
    scene = Scene(step_to(5), status=attempt_status(jobUID=JOB_UID))
    scene.cache.apply(PODS, pod())
    scene.api.before_status = lambda: scene.cache.forget(PODS, POD_UID)
    await scene.reconciler.reconcile(TREES)
    assert not scene.seen[0].orphans[0].gone
    await scene.reconciler.reconcile(TREES)
    assert scene.seen[1].orphans[0].gone


async def test_what_the_api_refuses_to_make_is_known_to_the_next_decision() -> None:
    scene = Scene(step_to(5, actions=(StartAttempt(1, JOB, "trainer:1"),)), status=attempt_status())
    scene.api.failures["create", "jobs"] = ForbiddenError("POST", 403, "exceeded quota: jobs")
    with pytest.raises(ForbiddenError):
        await scene.reconciler.reconcile(TREES)
    with pytest.raises(ForbiddenError):
        await scene.reconciler.reconcile(TREES)
    del scene.api.failures["create", "jobs"]
    await scene.reconciler.reconcile(TREES)
    await scene.reconciler.reconcile(TREES)
    obstacles = [seen.obstacle for seen in scene.seen]
    assert [bool(obstacle) for obstacle in obstacles] == [False, True, True, False]
    assert "exceeded quota: jobs" in str(obstacles[1])


async def test_each_decision_that_is_new_is_logged_with_what_it_rested_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene(lambda observed: plan(observed, SETTINGS, NOW))
    with caplog.at_level("INFO", "detection_operator.cluster"):
        await scene.reconciler.reconcile(TREES)
        await scene.reconciler.reconcile(TREES)
        scene.clock_s += LONGEST_PATIENCE_S
        await scene.reconciler.reconcile(TREES)
        await scene.reconciler.reconcile(TREES)
    lines = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    decisions = [line for line in lines if "decision" in line]
    assert [line["decision"]["reason"] for line in decisions] == ["AttemptCreated", "PodPending"]
    assert decisions[0]["name"] == "trees"
    assert decisions[0]["decision"]["actions"] == [f"StartAttempt {JOB}"]
    assert decisions[0]["decision"]["inputs"]["generation"] == 1
    assert "jobs" not in decisions[0]["decision"]["inputs"], "it had none"
    assert decisions[1]["decision"]["inputs"]["jobs"] == [f"{JOB}: under way"]


async def started_scene() -> Scene:
    """Return a training whose attempt was created and whose pod runs."""
    scene = Scene(lambda observed: plan(observed, SETTINGS, NOW))
    await scene.reconciler.reconcile(TREES)
    running = container_status(running={"startedAt": "2026-11-24T10:00:00Z"})
    made = scene.api.find(JOBS, JOB)
    assert made is not None
    scene.cache.apply(PODS, pod(job_uid=made["metadata"]["uid"], status=running))
    return scene


def rush(scene: Scene) -> None:
    scene.queue.add_all(Key("vision", f"other-{number}") for number in range(MANY + 1))


def message(scene: Scene) -> str:
    stored = scene.api.find(TRAININGS, "trees")
    assert stored is not None
    return str(stored["status"]["conditions"][0]["message"])


async def test_a_start_that_is_quick_costs_one_write() -> None:
    scene = await started_scene()
    assert await scene.reconciler.reconcile(TREES) == PATIENCE_S, "looked at again"
    scene.clock_s += 1
    assert await scene.reconciler.reconcile(TREES) == PATIENCE_S - 1
    assert len(scene.api.called("patch", TRAININGS)) == 1


async def test_a_slow_start_is_reported() -> None:
    scene = await started_scene()
    await scene.reconciler.reconcile(TREES)
    scene.clock_s += PATIENCE_S
    await scene.reconciler.reconcile(TREES)
    assert "has not reported a step yet" in message(scene)


async def test_a_missing_pod_is_reported_if_it_stays_missing() -> None:
    scene = Scene(lambda observed: plan(observed, SETTINGS, NOW))
    await scene.reconciler.reconcile(TREES)
    assert await scene.reconciler.reconcile(TREES) == LONGEST_PATIENCE_S
    scene.clock_s += LONGEST_PATIENCE_S
    await scene.reconciler.reconcile(TREES)
    assert message(scene) == "The Job has no pod yet."


async def test_a_slow_start_is_reported_later_if_many_wait() -> None:
    scene = await started_scene()
    rush(scene)
    pauses = []
    while (pause_s := await scene.reconciler.reconcile(TREES)) and scene.clock_s < 100:
        assert len(scene.api.called("patch", TRAININGS)) == 1
        pauses.append(pause_s)
        scene.clock_s += pause_s
    assert pauses == [2, 2, 4, 8, 16, 28]
    assert scene.clock_s == LONGEST_PATIENCE_S
    assert len(scene.api.called("patch", TRAININGS)) == 2


async def test_a_slow_start_is_reported_once_few_wait() -> None:
    scene = await started_scene()
    rush(scene)
    await scene.reconciler.reconcile(TREES)
    scene.clock_s += PATIENCE_S
    await scene.reconciler.reconcile(TREES)
    assert len(scene.api.called("patch", TRAININGS)) == 1
    scene.queue.restart(())
    await scene.reconciler.reconcile(TREES)
    assert len(scene.api.called("patch", TRAININGS)) == 2


async def test_an_attempt_that_has_ended_no_longer_counts_as_a_reporting_one() -> None:
    outcome = {"reason": "Killed", "message": "m", "finishedAt": "2026-11-24T10:00:00Z"}
    scene = Scene(step_to(5), status=attempt_status())
    await scene.reports.take(TREES, UID, LAST_REPORT)
    assert scene.reports.reporting() == 1
    ended = scene.api.put(TRAININGS, stored_training(status=attempt_status(outcome=outcome)))
    scene.cache.apply(TRAININGS, ended)
    await scene.reconciler.reconcile(TREES)
    assert scene.reports.reporting() == 0


async def test_between_two_trainings_that_need_nothing_all_else_has_its_turn() -> None:
    scene = Scene(leave)
    scene.queue.add_all([Key("vision", f"gone-{number}") for number in range(3)])
    worker = asyncio.create_task(scene.loop.work())
    await asyncio.sleep(0)
    assert scene.queue.depth() == 2
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_a_worker_settles_what_succeeds() -> None:
    scene = Scene(step_to(5))
    scene.queue.add(TREES)
    await scene.work_until_idle()
    assert scene.telemetry.errors == [""]


async def test_a_worker_survives_and_counts_failures_of_the_api() -> None:
    scene = Scene(step_to(5))
    scene.api.failures["patch", "detectiontrainings"] = UnavailableError("PATCH", 503, "later")
    scene.queue.add(TREES)
    await scene.work_until_idle()
    assert scene.telemetry.errors == ["Unavailable"]
    assert scene.queue.retry(TREES) >= 1.0, "the failure was counted against the key"


async def test_a_worker_survives_an_error_in_our_code(caplog: pytest.LogCaptureFixture) -> None:
    def mistaken(_observed: Observed) -> Plan:
        raise KeyError("oops")

    scene = Scene(mistaken)
    scene.queue.add(TREES)
    await scene.work_until_idle()
    assert scene.telemetry.errors == ["KeyError"]
    assert "reconciling failed" in caplog.text


async def test_an_unreadable_status_is_reported_in_it_and_nothing_is_decided() -> None:
    status = attempt_status() | {"startTime": "yesterday", "conditions": [{"type": "Restored"}]}
    scene = Scene(leave, status=status)
    scene.queue.add(TREES)
    await scene.work_until_idle()
    assert scene.seen == []
    assert scene.telemetry.errors == ["Unreadable"]
    found = scene.api.find(TRAININGS, "trees")
    assert found is not None
    kept = {name: value for name, value in found["status"].items() if name != "conditions"}
    assert kept == {name: value for name, value in status.items() if name != "conditions"}
    conditions = {entry["type"]: entry for entry in found["status"]["conditions"]}
    assert conditions.keys() == {"Restored", "Ready", "Stalled"}
    assert (conditions["Stalled"]["status"], conditions["Stalled"]["reason"]) == (
        "True",
        "Unreadable",
    )
    assert "startTime" in conditions["Stalled"]["message"]


async def test_it_is_reported_once_and_decided_again_when_it_is_corrected() -> None:
    scene = Scene(leave, status=attempt_status() | {"startTime": "yesterday"})
    for _ in range(2):
        scene.telemetry.counted.clear()
        scene.queue.add(TREES)
        await scene.work_until_idle()
    assert len(scene.api.called("patch", TRAININGS)) == 1
    assert len(scene.cache.quarantine) == 1
    scene.cache.apply(TRAININGS, scene.api.put(TRAININGS, stored_training(status=attempt_status())))
    assert len(scene.cache.quarantine) == 0
    await scene.reconciler.reconcile(TREES)
    assert len(scene.seen) == 1


async def test_nothing_is_planned_in_a_namespace_that_cannot_be_listed() -> None:
    scene = Scene(step_to(5))
    scene.may_plan = False
    scene.queue.add(TREES)
    await scene.work_until_idle()
    assert scene.seen == []
    assert scene.telemetry.errors == [""]
