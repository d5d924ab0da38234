"""Events of overdue Jobs and pods: one list for all, and none while nothing is overdue."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detection_operator.cluster.api.resources import (
    CLAIMS,
    EVENTS,
    JOBS,
    PODS,
    Key,
    Object,
    Resource,
)
from detection_operator.cluster.observe import warnings as module
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import (
    Overdue,
    WarningEvent,
    WarningEvents,
    claim_id,
)
from detection_operator.errors import ForbiddenError, UnavailableError
from tests.support.operator.fake_cluster import FakeCluster

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)
TREES, BIRDS, FAR = Key("vision", "trees"), Key("vision", "birds"), Key("other", "far")


class Scene:
    """WarningEvents whose time is the test's."""

    def __init__(self) -> None:
        self.api, self.queue, self.now = FakeCluster(), KeyQueue(), NOW
        self.warnings = WarningEvents(self.api, self.queue, now=lambda: self.now, clock=lambda: 0.0)

    def happen(
        self, uid: str, message: str, kind: str = "Job", place: str = "vision", **event: Any
    ) -> None:
        reason = "FailedCreate" if kind == "Job" else "FailedMount"
        name = f"e-{len(self.api.objects)}"
        warning: Object = {
            "metadata": {"name": name, "namespace": place},
            "involvedObject": {"kind": kind, "uid": uid},
            "type": "Warning",
            "reason": reason,
            "message": message,
        }
        self.api.put(EVENTS, warning | event)

    async def queued(self) -> set[Key]:
        found = set()
        while self.queue.depth():
            key = await self.queue.get()
            self.queue.done(key)
            found.add(key)
        return found


@pytest.fixture
def scene() -> Scene:
    return Scene()


def job(uid: str, since: datetime = NOW) -> Overdue:
    return Overdue(JOBS, uid, since)


async def until(reached: Callable[[], bool]) -> None:
    for _ in range(1000):
        if reached():
            return
        await asyncio.sleep(0)
    raise AssertionError("not reached")


async def test_one_list_serves_all_that_wait(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.warnings.follow(BIRDS, [job("b")])
    scene.happen("a", "violates PodSecurity")
    scene.happen("b", "exceeded quota")
    scene.happen("c", "nothing waits for it")
    await scene.warnings.read()
    assert len(scene.api.called("list", EVENTS)) == 1
    assert scene.warnings.of("a") == WarningEvent("FailedCreate", "violates PodSecurity")
    assert scene.warnings.of("b") == WarningEvent("FailedCreate", "exceeded quota")
    assert scene.warnings.of("c") is None
    assert await scene.queued() == {TREES, BIRDS}


async def test_jobs_and_pods_are_asked_for_by_what_matters_of_them(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a"), Overdue(PODS, "p", NOW)])
    await scene.warnings.read()
    assert sorted(scene.api.called("list", EVENTS)) == [
        "involvedObject.kind=Job,reason=FailedCreate",
        "involvedObject.kind=Pod,type=Warning,reason!=FailedScheduling",
    ]


async def test_an_older_message_of_the_scheduler_delays_nothing(scene: Scene) -> None:
    scene.warnings.follow(TREES, [Overdue(PODS, "p", NOW)])
    scene.happen("p", "0/3 nodes are available", kind="Pod", reason="FailedScheduling")
    await scene.warnings.read()
    assert scene.warnings.of("p") is None


async def test_the_newest_event_counts(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.happen("a", "old", lastTimestamp="2026-11-24T09:00:00Z")
    scene.happen("a", "new", eventTime="2026-11-24T09:30:00Z")
    scene.happen("a", "timeless")
    await scene.warnings.read()
    assert scene.warnings.of("a") == WarningEvent("FailedCreate", "new")


async def test_a_training_is_decided_again_only_after_a_change(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.happen("a", "exceeded quota", lastTimestamp="2026-11-24T09:00:00Z")
    await scene.warnings.read()
    assert await scene.queued() == {TREES}
    await scene.warnings.read()
    assert await scene.queued() == set()
    scene.happen("a", "violates PodSecurity", lastTimestamp="2026-11-24T09:01:00Z")
    await scene.warnings.read()
    assert await scene.queued() == {TREES}


async def test_nothing_is_read_before_something_is_overdue(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a", since=SOON)])
    scene.happen("a", "exceeded quota")
    await scene.warnings.read()
    assert scene.api.calls == []
    scene.now = SOON
    await scene.warnings.read()
    assert scene.warnings.of("a") is not None


async def test_what_is_no_longer_followed_is_forgotten(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.happen("a", "exceeded quota")
    await scene.warnings.read()
    scene.warnings.follow(TREES, [])
    assert scene.warnings.of("a") is None
    scene.api.calls.clear()
    await scene.warnings.read()
    assert scene.api.calls == []


async def test_a_warning_that_ends_while_the_list_is_read_is_not_reported(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.happen("a", "exceeded quota")
    scene.api.while_listing["events"] = lambda: scene.warnings.follow(TREES, [])
    await scene.warnings.read()
    assert scene.warnings.of("a") is None
    assert await scene.queued() == set()


async def test_each_namespace_is_read_by_itself(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.warnings.follow(FAR, [job("b")])
    scene.happen("b", "in another namespace", place=FAR.namespace)
    await scene.warnings.read()
    assert len(scene.api.called("list", EVENTS)) == 2
    assert scene.warnings.of("b") is not None


async def test_an_event_does_not_count_for_another_namespace_or_kind(
    scene: Scene,
) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.warnings.follow(FAR, [job("b")])
    scene.happen("b", "exceeded quota, says a tenant of another namespace")
    scene.happen("a", "says an Event of a pod", kind="Pod")
    await scene.warnings.read()
    assert scene.warnings.of("a") is scene.warnings.of("b") is None
    assert await scene.queued() == set()


async def test_a_namespace_that_cannot_be_read_silences_no_other(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.warnings.follow(TREES, [job("a")])
    scene.warnings.follow(FAR, [job("b")])
    scene.happen("a", "exceeded quota")
    listed = FakeCluster.items

    def items(api: FakeCluster, resource: Resource, namespace: str, **how: Any) -> Any:
        if namespace == FAR.namespace:
            raise ForbiddenError("GET …", 403, "forbidden")
        return listed(api, resource, namespace, **how)

    monkeypatch.setattr(FakeCluster, "items", items)
    with pytest.raises(ForbiddenError):
        await scene.warnings.read()
    assert scene.warnings.of("a") == WarningEvent("FailedCreate", "exceeded quota")


async def test_it_reads_until_it_is_ended_whatever_the_api_answers(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.0)
    scene.api.failures["list", "events"] = UnavailableError("GET …", 503, "etcd is unwell")
    running = asyncio.create_task(scene.warnings.run())
    await asyncio.sleep(0)
    assert scene.api.calls == [], "nothing waits"
    scene.warnings.follow(TREES, [job("a")])
    scene.happen("a", "exceeded quota")
    await until(lambda: len(scene.api.called("list", EVENTS)) >= 3)
    assert [r.getMessage() for r in caplog.records if "etcd is unwell" in r.getMessage()]
    assert len(caplog.records) == 1, "logged once"
    scene.api.failures.clear()
    await until(lambda: scene.warnings.of("a") is not None)
    scene.warnings.follow(TREES, [])
    await until(lambda: not scene.warnings._some.is_set())
    assert not running.done()
    running.cancel()


async def test_a_replica_that_leads_again_follows_nothing_from_before(scene: Scene) -> None:
    scene.warnings.follow(TREES, [job("a")])
    running = asyncio.create_task(scene.warnings.run())
    await asyncio.sleep(0)
    await scene.warnings.read()
    assert scene.api.calls == []
    running.cancel()


async def test_a_claim_is_found_by_its_name_for_each_pod_that_mounts_it(scene: Scene) -> None:
    claims = [Overdue(CLAIMS, claim_id(pod, "data"), NOW, "data") for pod in ("p", "q")]
    scene.warnings.follow(TREES, claims[:1])
    scene.warnings.follow(BIRDS, claims[1:])
    claim = {"kind": "PersistentVolumeClaim", "name": "data", "uid": "c"}
    for reason, message in (
        ("WaitForFirstConsumer", "waiting for first consumer"),
        ("ProvisioningFailed", 'storageclass "fats" not found'),
    ):
        scene.happen("c", message, involvedObject=claim, reason=reason)
    await scene.warnings.read()
    expected = WarningEvent("ProvisioningFailed", 'storageclass "fats" not found')
    assert scene.warnings.of("p/data") == scene.warnings.of("q/data") == expected
    assert await scene.queued() == {TREES, BIRDS}
    assert len(scene.api.called("list", EVENTS)) == 1


async def test_a_warning_takes_precedence_over_a_newer_normal_event(scene: Scene) -> None:
    scene.warnings.follow(TREES, [Overdue(CLAIMS, "p/data", NOW, "data")])
    claim = {"kind": "PersistentVolumeClaim", "name": "data"}
    for type_, reason, at in (
        ("Warning", "ProvisioningFailed", "2026-11-24T09:00:00Z"),
        ("Normal", "ExternalProvisioning", "2026-11-24T09:30:00Z"),
    ):
        scene.happen("", "", involvedObject=claim, type=type_, reason=reason, lastTimestamp=at)
    await scene.warnings.read()
    assert scene.warnings.of("p/data") == WarningEvent("ProvisioningFailed", "")
