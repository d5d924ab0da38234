"""Kopf's part: its settings, and events that only go to the cache and the queue."""

import asyncio
import itertools
from typing import Any

import aiohttp
import kopf
import pytest

from detection_operator import handlers
from detection_operator.cluster.api.resources import JOBS, TRAININGS, Key
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.handlers import (
    EndlessBackoffs,
    NoMemories,
    Watching,
    build_registry,
    build_settings,
    take_in,
)
from tests.support.operator.cluster_objects import REF, job, newer, pod, stored_training

TREES = Key("vision", "trees")


def event(kind: str | None, body: Any) -> Any:
    return {"type": kind, "object": body}


def test_kopf_writes_nothing_and_never_gives_up() -> None:
    settings = build_settings()
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone
    assert settings.queueing.worker_limit is None
    assert isinstance(settings.networking.error_backoffs, EndlessBackoffs)
    assert settings.process.ultimate_exiting_timeout == handlers.EXITING_TIMEOUT_S


def test_back_offs_never_end_and_restart_each_time() -> None:
    backoffs = EndlessBackoffs()
    for _ in range(2):
        delays = list(itertools.islice(backoffs, 1000))
        assert delays[0] == 0.1
        assert max(delays) == delays[-1] == 1.0


def test_no_essence_of_an_object_is_kept() -> None:
    storage = build_settings().persistence.diffbase_storage
    body: Any = stored_training()
    assert storage.build(body=body) == {}
    assert storage.fetch(body=body) is None
    patch = kopf.Patch()
    storage.store(body=body, patch=patch, essence=kopf.BodyEssence())
    assert not patch


async def test_no_memory_of_an_object_is_kept() -> None:
    memories = NoMemories()
    memory = await memories.recall(stored_training(), noticed_by_listing=True)
    assert memory.noticed_by_listing
    assert list(memories.iter_all_memories()) == []


@pytest.mark.parametrize("kind", [None, "ADDED", "MODIFIED"], ids=["listed", "added", "modified"])
async def test_an_event_queues_the_training(kind: str | None) -> None:
    cache, queue = Cache(), KeyQueue()
    take_in(cache, queue, TRAININGS, event(kind, stored_training()))
    assert await queue.get() == TREES


async def test_an_event_without_news_queues_nothing() -> None:
    cache, queue = Cache(), KeyQueue()
    cache.apply(TRAININGS, stored_training())
    take_in(cache, queue, TRAININGS, event("MODIFIED", stored_training()))
    assert queue.depth() == 0


async def test_a_deletion_is_recorded() -> None:
    cache, queue = Cache(), KeyQueue()
    cache.apply(JOBS, job())
    take_in(cache, queue, JOBS, event("DELETED", newer(job())))
    assert cache.jobs(REF) == []
    assert await queue.get() == TREES


async def test_an_error_in_a_watch_ends_the_watching_with_it() -> None:
    async def fails() -> None:
        raise RuntimeError("an ERROR event that is not 410")

    watching = Watching(kopf.OperatorRegistry(), ())
    watching._root = [asyncio.create_task(fails()), asyncio.create_task(asyncio.sleep(60))]
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="an ERROR event"):
            await watching.wait_end()
    watching._root[1].cancel()


async def test_three_kinds_are_watched_and_the_session_is_ours() -> None:
    cache, queue = Cache(), KeyQueue()
    async with aiohttp.ClientSession() as session:
        registry: Any = build_registry(cache, queue, lambda: session, "https://api.example")
        watched = {
            h.selector.plural or h.selector.any_name: h for h in registry._watching._handlers
        }
        assert watched.keys() == {"detectiontrainings", "jobs", "pods"}
        assert not registry._changing._handlers
        assert not registry._spawning._handlers
        [login] = registry._activities._handlers
        found = await login.fn()
    assert found.aiohttp_session is session
    assert found.server == "https://api.example"
    bodies = {"detectiontrainings": stored_training(), "jobs": job(), "pods": pod()}
    for name, body in bodies.items():
        await watched[name].fn(event={"type": "ADDED", "object": body})
    assert queue.depth() == 1
    assert len(cache.jobs(REF)) == len(cache.pods(REF)) == 1
