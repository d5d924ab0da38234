"""Filling and pruning the cache: what a watch misses is found here."""

import asyncio

import pytest

from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key
from detection_operator.cluster.observe import lists
from detection_operator.cluster.observe import resync as module
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.lists import WatchedLists
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.resync import Resync
from detection_operator.errors import NotFoundError, UnavailableError
from tests.support.operator.cluster_objects import (
    JOB_UID,
    NAMESPACE,
    POD_UID,
    REF,
    job,
    newer,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.telemetry import Silence

TREES = Key("vision", "trees")


class Counted(Silence):
    def __init__(self) -> None:
        self.counts: list[tuple[int, int]] = []
        self.compared = asyncio.Event()

    def resynced(self, pruned: int, missed: int) -> None:
        self.counts.append((pruned, missed))
        self.compared.set()


class Scene:
    def __init__(self, interval_s: float = 600.0, namespaces: tuple[str, ...] = ()) -> None:
        self.api, self.cache, self.queue = FakeCluster(), Cache(), KeyQueue()
        self.counted, self.tidied = Counted(), 0
        self.resync = Resync(
            lists=WatchedLists(self.api, namespaces),
            cache=self.cache,
            queue=self.queue,
            interval_s=interval_s,
            telemetry=self.counted,
            tidy=self.tidy,
            clock=lambda: 7.0,
        )

    def tidy(self) -> None:
        self.tidied += 1

    def fill_cluster(self) -> None:
        self.api.put(TRAININGS, stored_training())
        self.api.put(JOBS, job())
        self.api.put(PODS, pod())


async def test_everything_is_listed_before_the_first_decision() -> None:
    scene = Scene()
    scene.fill_cluster()
    await scene.resync.fill()
    assert len(scene.cache.jobs(REF)) == len(scene.cache.pods(REF)) == 1
    assert await scene.queue.get() == TREES
    assert scene.resync.done_at == 7.0


async def test_only_the_watched_namespaces_are_listed() -> None:
    scene = Scene(namespaces=("other",))
    scene.fill_cluster()
    await scene.resync.fill()
    assert scene.cache.training_keys() == []


async def test_nothing_is_decided_until_every_kind_could_be_listed() -> None:
    scene = Scene()
    scene.fill_cluster()
    scene.api.failures["list", "pods"] = UnavailableError("GET /api/v1/pods", 503, "no leader")
    with pytest.raises(UnavailableError, match="no leader"):
        await scene.resync.fill()
    assert scene.queue.depth() == 0
    assert scene.resync.done_at is None
    del scene.api.failures["list", "pods"]
    await scene.resync.fill()
    assert await scene.queue.get() == TREES


async def test_what_vanished_unseen_is_forgotten() -> None:
    scene = Scene()
    scene.fill_cluster()
    await scene.resync.fill()
    scene.api.objects.clear()
    await scene.resync.compare()
    assert scene.counted.counts == [(3, 0)]
    assert scene.tidied == 1
    assert scene.cache.training_keys() == []
    assert scene.cache.job(Ref(NAMESPACE, JOB_UID)) is None
    assert scene.cache.pod(POD_UID) is None


async def test_what_was_missed_is_read() -> None:
    scene = Scene()
    scene.fill_cluster()
    scene.cache.apply(TRAININGS, stored_training())
    await scene.resync.compare()
    assert scene.counted.counts == [(0, 3)]
    assert len(scene.cache.pods(REF)) == 1


async def test_many_that_were_missed_are_listed_instead_of_read_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lists, "FEW", 2)
    scene = Scene()
    for number in range(3):
        scene.api.put(TRAININGS, stored_training(f"trees-{number}", f"uid-{number}"))
    await scene.resync.compare()
    assert scene.counted.counts == [(0, 3)]
    assert len(scene.cache.training_keys()) == 3
    assert scene.api.called("get", TRAININGS) == []


async def test_where_nothing_was_missed_nothing_is_read() -> None:
    scene = Scene()
    scene.fill_cluster()
    await scene.resync.fill()
    await scene.resync.compare()
    assert scene.counted.counts == [(0, 0)]
    assert scene.api.called("get", TRAININGS) == []


async def test_objects_that_the_watch_adds_meanwhile_are_not_pruned() -> None:
    scene = Scene()
    scene.fill_cluster()
    await scene.resync.fill()
    new = newer(job(uid="uid-new", name="trees-5f2c8a1b-2"), 50)
    scene.api.while_listing[JOBS.plural] = lambda: scene.cache.apply(JOBS, new)
    await scene.resync.compare()
    assert scene.cache.job(Ref(NAMESPACE, "uid-new")) is not None


async def test_objects_deleted_between_list_and_read_are_left_out() -> None:
    scene = Scene()
    scene.fill_cluster()

    scene.api.failures["get", "jobs"] = NotFoundError("GET", 404, "gone")
    scene.api.failures["get", "pods"] = NotFoundError("GET", 404, "gone")
    scene.api.failures["get", "detectiontrainings"] = NotFoundError("GET", 404, "gone")
    await scene.resync.compare()
    assert scene.counted.counts == [(0, 0)]


async def test_a_relist_has_it_compared_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLE_S", 0.0)
    scene = Scene()
    running = asyncio.create_task(scene.resync.run())
    scene.resync.request()
    await asyncio.wait_for(scene.counted.compared.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert scene.counted.counts == [(0, 0)]


async def test_it_is_compared_from_time_to_time_also_after_a_failure(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    scene = Scene(interval_s=0.0)
    tries = iter([UnavailableError("GET", 503, "down"), None])
    compare = scene.resync.compare

    async def once_down() -> None:
        if error := next(tries, None):
            raise error
        await compare()

    monkeypatch.setattr(scene.resync, "compare", once_down)
    running = asyncio.create_task(scene.resync.run())
    await asyncio.wait_for(scene.counted.compared.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "could not be compared" in caplog.text
