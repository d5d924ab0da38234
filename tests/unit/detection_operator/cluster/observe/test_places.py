"""Several watched namespaces: one that cannot be listed leaves the others alone."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from detection_operator.cluster.api.client import Verb
from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key, Object, Resource
from detection_operator.cluster.observe import resync as module
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.lists import WatchedLists
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.resync import Resync
from detection_operator.errors import ClusterError, ForbiddenError, NotFoundError, UnavailableError
from tests.support.operator.cluster_objects import job, pod, stored_training
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.telemetry import Silence

A, B = "team-a", "team-b"
IN_A, IN_B = Key(A, "trees"), Key(B, "trees")
FORBIDDEN = ForbiddenError("GET", 403, "cannot list")


class Refusing(FakeCluster):
    """An API server that refuses the lists of some namespaces."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: dict[str, ClusterError] = {}

    def items(self, resource: Resource, namespace: str | None, **how: Any) -> AsyncIterator[Object]:
        if error := self.refused.get(namespace or ""):
            raise error
        return super().items(resource, namespace, **how)

    async def request(self, verb: Verb, path: str, **_: Any) -> Object:
        self.calls.append((verb, path, ""))
        for namespace, error in self.refused.items():
            if f"/namespaces/{namespace}/" in path:
                raise error
        return {}


class Scene:
    def __init__(self) -> None:
        self.api, self.cache, self.queue = Refusing(), Cache(), KeyQueue()
        self.resync = Resync(
            lists=WatchedLists(self.api, [A, B]),
            cache=self.cache,
            queue=self.queue,
            interval_s=600.0,
            telemetry=Silence(),
            clock=lambda: 7.0,
        )
        self.places = self.resync.places
        for namespace in (A, B):
            self.put(TRAININGS, stored_training(uid=f"uid-{namespace}"), namespace)
            self.put(JOBS, job(uid=f"job-{namespace}", owner_uid=f"uid-{namespace}"), namespace)
            self.put(PODS, pod(uid=f"pod-{namespace}", owner_uid=f"uid-{namespace}"), namespace)

    def put(self, resource: Resource, body: Object, namespace: str) -> None:
        body["metadata"]["namespace"] = namespace
        self.api.put(resource, body)

    async def queued(self) -> set[Key]:
        found = set()
        while self.queue.depth():
            key = await self.queue.get()
            self.queue.done(key)
            found.add(key)
        return found


async def test_the_start_continues_when_one_namespace_is_missing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scene = Scene()
    scene.api.refused[B] = FORBIDDEN
    await scene.resync.probe()
    await scene.resync.fill()
    assert scene.cache.training_keys() == [IN_A]
    assert scene.places.may_plan(A)
    assert not scene.places.may_plan(B)
    assert scene.places.unavailable == (B,)
    assert "namespace team-b cannot be listed, trying again: " in caplog.text


@pytest.mark.parametrize("part", ["probe", "fill", "compare"])
async def test_where_no_namespace_can_be_listed_that_is_the_error(part: str) -> None:
    scene = Scene()
    scene.api.refused = {A: FORBIDDEN, B: NotFoundError("GET", 404, "no CRD")}
    with pytest.raises(ForbiddenError, match="cannot list"):
        await getattr(scene.resync, part)()


async def test_what_is_known_of_a_lost_namespace_is_not_pruned_and_not_planned_on() -> None:
    scene = Scene()
    await scene.resync.fill()
    await scene.queued()
    scene.api.objects.clear()
    scene.api.refused[B] = FORBIDDEN
    await scene.resync.compare()
    assert scene.cache.training_keys() == [IN_B], "deleted objects of other namespaces are pruned"
    assert scene.cache.job(Ref(A, f"job-{A}")) is None
    assert scene.cache.job(Ref(B, f"job-{B}")) is not None
    assert scene.cache.pod(f"pod-{B}") is not None
    assert not scene.places.may_plan(B)


async def test_a_namespace_whose_rights_return_is_watched_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    scene = Scene()
    scene.api.refused[B] = FORBIDDEN
    await scene.resync.fill()
    assert await scene.queued() == {IN_A}
    scene.api.refused.clear()
    await scene.resync.compare()
    assert await scene.queued() == {IN_A, IN_B}
    assert scene.places.may_plan(B)
    assert scene.places.unavailable == ()
    assert "namespace team-b can be listed again" in caplog.text


async def test_a_lost_namespace_is_retried_long_before_the_next_resync(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    scene = Scene()
    scene.api.refused[B] = FORBIDDEN
    await scene.resync.fill()
    before = len(scene.api.called("list", TRAININGS))
    running = asyncio.create_task(scene.resync.run())
    for _ in range(20):
        await asyncio.sleep(0)
    scene.api.refused.clear()
    async with asyncio.timeout(5):
        while not scene.places.may_plan(B):  # noqa: ASYNC110 - in passing
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert len(scene.api.called("list", TRAININGS)) - before == 1, "the other one is not listed"


async def test_a_short_overload_of_the_server_revokes_no_rights() -> None:
    scene = Scene()
    await scene.resync.fill()
    scene.api.refused[B] = UnavailableError("GET", 503, "busy")
    await scene.resync.compare()
    assert scene.places.unavailable == (B,)
    assert scene.places.may_plan(B)


async def test_a_namespace_that_was_never_listed_is_not_planned_on() -> None:
    scene = Scene()
    scene.api.refused[B] = UnavailableError("GET", 503, "busy")
    await scene.resync.fill()
    assert not scene.places.may_plan(B)


async def test_the_same_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    scene.api.refused[B] = FORBIDDEN
    await scene.resync.fill()
    await scene.resync.compare()
    assert caplog.text.count("team-b") == 1
