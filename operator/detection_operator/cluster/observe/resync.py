"""Compares the cache with the API, because a watch may have missed something.

All lists are made here; a watch that starts again does not report earlier changes. At the start the
lists are complete and fill the cache before any decision is made: an attempt whose Job is not known
yet would look as if a person had deleted it. Each watched namespace is listed by itself
(`places.py`); one that fails is retried and does not delay the others.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from detection_operator.cluster.api.resources import WATCHED, Key, Resource
from detection_operator.cluster.api.telemetry import Telemetry
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.lists import WatchedLists
from detection_operator.cluster.observe.places import Place
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.records import version_of
from detection_operator.errors import ClusterError

logger = logging.getLogger(__name__)

SPREAD = 0.2
"""Replicas must not all list at once: each waits up to this fraction more or less."""
SETTLE_S = 0.1
"""The watches start again together: one comparison is enough for all."""
RETRY_S = 10.0


class Resync:
    """Fills the cache at the start, and prunes it from time to time."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        lists: WatchedLists,
        cache: Cache,
        queue: KeyQueue,
        interval_s: float,
        telemetry: Telemetry,
        tidy: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compare the cache with `lists` about every `interval_s` seconds.

        `tidy` drops what other parts keep for trainings that no longer exist.
        """
        self._lists, self._cache, self._queue = lists, cache, queue
        self.places = lists.places
        self._interval_s, self._telemetry, self._clock = interval_s, telemetry, clock
        self._tidy = tidy
        self._requested = asyncio.Event()
        self.tried_at: float | None = None
        self.done_at: float | None = None

    def request(self) -> None:
        """Make the next comparison soon."""
        self._requested.set()

    async def probe(self) -> None:
        """Check that everything can be listed.

        Raises:
            ClusterError: no watched namespace can be listed.
        """
        await self.places.each(self._lists.probe)

    async def fill(self) -> None:
        """Store all trainings, Jobs and pods, and queue every training.

        Raises:
            ClusterError: no watched namespace could be listed.
        """
        await self.places.each(self._fill)
        self._finish()

    async def _fill(self, place: Place) -> None:
        # At once: while one page is decoded here, the API server makes the pages of the others.
        try:
            async with asyncio.TaskGroup() as group:
                for resource in WATCHED:
                    group.create_task(self._fill_kind(resource, place))
        except* ClusterError as errors:
            raise errors.exceptions[0] from None
        self.places.listed(place)

    async def _fill_kind(self, resource: Resource, place: Place) -> None:
        async for body in self._lists.items(resource, place):
            self._cache.apply(resource, body)

    async def run(self) -> None:
        """Compare from time to time until cancelled; retry sooner what could not be listed."""
        left_s = self._interval_s
        while True:
            lost = self.places.unavailable
            delay_s = min(left_s, RETRY_S) if lost else left_s
            requested = await self._pause(delay_s)
            left_s -= delay_s
            if requested or left_s <= 0:
                left_s = await self._compare_or_warn()
            else:
                await self._compare_lost(lost)

    async def _compare_or_warn(self) -> float:
        """Compare everything; return the seconds until the next comparison."""
        try:
            await self.compare()
        except ClusterError as error:
            logger.warning("the cache could not be compared with the cluster: %s", error)
        except Exception:
            # A bug in one comparison must not stop the comparisons that follow.
            logger.exception("comparing the cache with the cluster failed")
        else:
            return self._interval_s
        return RETRY_S

    async def _compare_lost(self, places: tuple[Place, ...]) -> None:
        """Compare the places that could not be listed; a repeated failure is not logged."""
        try:
            await self._compare(places)
        except ClusterError:
            return
        except Exception:
            logger.exception("comparing the cache with the cluster failed")

    async def compare(self) -> None:
        """Drop what is gone, store what was missed, and queue every training.

        Raises:
            ClusterError: no watched namespace could be listed.
        """
        self.tried_at = self._clock()
        await self._compare(self.places.all)

    async def _compare(self, places: tuple[Place, ...]) -> None:
        pruned = missed = 0

        async def compare(place: Place) -> None:
            nonlocal pruned, missed
            for resource in WATCHED:
                gone, new = await self._compare_kind(resource, place)
                pruned, missed = pruned + gone, missed + new
            self.places.listed(place)

        await self.places.each(compare, places)
        self._cache.drop_past_orphans()
        self._tidy()
        self._telemetry.resynced(pruned, missed)
        if pruned or missed:
            logger.info("%d records were gone, %d objects had been missed", pruned, missed)
        self._finish()

    async def _compare_kind(self, resource: Resource, place: Place) -> tuple[int, int]:
        known = self._cache.versions(resource, place)
        missed: list[Key] = []
        async for item in self._lists.items(resource, place, metadata_only=True):
            version = version_of(item)
            had = known.pop(version.uid, None)
            if had is None or had.is_before(version):
                metadata = item["metadata"]
                missed.append(Key(metadata["namespace"], metadata["name"]))
        for uid in known:
            for key in self._cache.forget(resource, uid):
                self._queue.add(key)
        return len(known), await self._take_in(resource, place, missed)

    async def _take_in(self, resource: Resource, place: Place, missed: list[Key]) -> int:
        """Read what the list has in a newer state; its event may have arrived meanwhile."""
        count = 0
        async for body in self._lists.read(resource, place, missed):
            concerned = self._cache.apply(resource, body)
            count += bool(concerned)
            for training in concerned:
                self._queue.add(training)
        return count

    def _finish(self) -> None:
        self.tried_at = self.done_at = self._clock()
        self._queue.add_all(self._cache.training_keys())

    async def _pause(self, delay_s: float) -> bool:
        """Wait for about `delay_s` seconds; return whether a comparison was requested."""
        spread = 1 + SPREAD * (2 * random.random() - 1)  # noqa: S311 - spreads load, no secret
        try:
            async with asyncio.timeout(delay_s * spread):
                await self._requested.wait()
                await asyncio.sleep(SETTLE_S)
        except TimeoutError:
            pass
        requested = self._requested.is_set()
        self._requested.clear()
        return requested
