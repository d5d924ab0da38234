"""The only module that uses Kopf: Kopf watches, and each event goes to the cache and the queue.

`on.event` handlers are not retried, so these only store the event; they are coroutines, because
Kopf would call plain functions in other threads. Kopf writes nothing: no annotation, no finalizer,
no Event; `patch`, through which it would write, is never used.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import aiohttp
import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from detection_operator.api.v1alpha1 import GROUP, PLURAL, VERSION
from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Resource
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.names import LABEL_TRAINING_UID

LIST_CHUNK = 500
IDLE_S = 0.2
REQUEST_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
ORPHANS_S = 5.0
EXITING_TIMEOUT_S = 20.0
"""Less than the pod's grace period."""


class EndlessBackoffs(Iterable[float]):
    """Delays that never run out: Kopf ends the process when they do."""

    def __iter__(self) -> Iterator[float]:
        """Yield delays that rise to a second and stay there."""
        yield from (0.1, 0.2, 0.4, 0.8)
        while True:
            yield 1.0


class NoDiffBase(kopf.DiffBaseStorage):
    """Keeps no essence of objects: no handler compares objects."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return an empty essence, which saves a deep copy of each event's object."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        """Return None: no essence is stored."""
        return None

    def store(self, **_: Any) -> None:
        """Write nothing into the user's resource."""


class NoMemories(ResourceMemories):
    """Keeps no memory of objects: it would take 1,000 bytes for each, and no handler uses it."""

    async def recall(self, raw_body: Any, **how: Any) -> ResourceMemory:
        """Return an empty memory without keeping it."""
        return await super().recall(raw_body, **{**how, "ephemeral": True})


def build_settings() -> kopf.OperatorSettings:
    """Return Kopf's settings, most of them measured (see docs/architecture.md)."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.queueing.idle_timeout = IDLE_S
    settings.watching.chunk_size = LIST_CHUNK
    settings.watching.label_selectors["batch", "v1", "jobs"] = LABEL_TRAINING_UID
    settings.watching.label_selectors["", "v1", "pods"] = LABEL_TRAINING_UID
    settings.networking.request_timeout = REQUEST_TIMEOUT_S
    settings.networking.connect_timeout = CONNECT_TIMEOUT_S
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.process.ultimate_exiting_timeout = EXITING_TIMEOUT_S
    return settings


class Watching:
    """Kopf's tasks, from start to end."""

    def __init__(self, registry: kopf.OperatorRegistry, namespaces: Collection[str]) -> None:
        """Watch `namespaces` (none: all of them)."""
        self._registry, self._namespaces = registry, namespaces
        self._stop, self._before = asyncio.Event(), set[asyncio.Task[Any]]()
        self._root: Collection[asyncio.Task[Any]] = ()

    async def start(self) -> None:
        """Start the tasks. Kopf handles SIGTERM and SIGINT itself where it can."""
        self._before = asyncio.all_tasks()
        self._root = await kopf.spawn_tasks(
            registry=self._registry,
            settings=build_settings(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            standalone=True,
            memories=NoMemories(),
            stop_flag=self._stop,
        )

    async def wait_end(self) -> None:
        """Wait until the tasks end by themselves (an ERROR in a watch ends them); raise why."""
        await asyncio.wait(self._root, return_when=asyncio.FIRST_COMPLETED)
        if (error := self._error()) is not None:
            raise error

    async def stop(self) -> None:
        """End the tasks if they were started."""
        if not self._root:
            return
        self._stop.set()
        if self._error() is not None:
            await self._end_orphans()
        # Their error is known already.
        with contextlib.suppress(Exception):
            await kopf.run_tasks(self._root, ignored=self._before)

    def _error(self) -> BaseException | None:
        done = [task for task in self._root if task.done() and not task.cancelled()]
        return next((error for task in done if (error := task.exception())), None)

    async def _end_orphans(self) -> None:
        """End the watches that did not fail.

        Kopf does not end them: it closes their session and then waits forever, while they wait for
        credentials that nobody will provide.
        """
        orphans = asyncio.all_tasks() - self._before - set(self._root)
        for task in orphans:
            task.cancel()
        if orphans:
            await asyncio.wait(orphans, timeout=ORPHANS_S)


def build_registry(
    cache: Cache, queue: KeyQueue, open_session: Callable[[], aiohttp.ClientSession], server: str
) -> kopf.OperatorRegistry:
    """Return the handlers: three watches, and a login with the operator's own session."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return kopf.AiohttpSession(server=server, aiohttp_session=open_session())

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def training_changed(event: kopf.RawEvent, **_: Any) -> None:
        take_in(cache, queue, TRAININGS, event)

    @kopf.on.event("batch", "v1", "jobs", registry=registry)
    async def job_changed(event: kopf.RawEvent, **_: Any) -> None:
        take_in(cache, queue, JOBS, event)

    @kopf.on.event("", "v1", "pods", registry=registry)
    async def pod_changed(event: kopf.RawEvent, **_: Any) -> None:
        take_in(cache, queue, PODS, event)

    return registry


def take_in(cache: Cache, queue: KeyQueue, resource: Resource, event: kopf.RawEvent) -> None:
    """Store one event in the cache and queue the trainings that it affects."""
    body: dict[str, Any] = dict(event["object"])
    change = cache.delete if event["type"] == "DELETED" else cache.apply
    for key in change(resource, body):
        queue.add(key)
