"""Compares the cache with what the API has, since a watch may have missed something.

All lists are made here; a watch that begins anew tells nothing of what was before. At the start the
lists are whole and fill the cache before any decision is made: an attempt whose Job is not known
yet would look as if a person had deleted it.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import AsyncIterator, Callable

from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import (
    JOBS,
    PODS,
    TRAININGS,
    WATCHED,
    Key,
    Object,
    Resource,
)
from detection_operator.cluster.api.telemetry import Telemetry
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.records import version_of
from detection_operator.errors import ClusterError, NotFoundError
from detection_operator.names import LABEL_TRAINING_UID

logger = logging.getLogger(__name__)

SPREAD = 0.2
"""Replicas must not all list at once: each waits up to this fraction more or less."""
SETTLE_S = 0.1
"""The watches begin anew together: one comparison serves all."""
FEW = 50
"""As many are read one by one; more are listed."""
RETRY_S = 10.0

SELECTORS = {TRAININGS: "", JOBS: LABEL_TRAINING_UID, PODS: LABEL_TRAINING_UID}


class Resync:
    """Fills the cache at the start, and prunes it from time to time."""

    def __init__(  # noqa: PLR0913 - the parts it puts together
        self,
        *,
        client: Client,
        cache: Cache,
        queue: KeyQueue,
        namespaces: list[str],
        interval_s: float,
        telemetry: Telemetry,
        tidy: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """List in `namespaces` (none: in all) about every `interval_s` seconds.

        `tidy` drops what others keep of trainings that are gone.
        """
        self._client, self._cache, self._queue = client, cache, queue
        self._places: list[str | None] = list(namespaces) or [None]
        self._interval_s, self._telemetry, self._clock = interval_s, telemetry, clock
        self._tidy = tidy
        self._asked = asyncio.Event()
        self.tried_at: float | None = None
        self.done_at: float | None = None

    def ask(self) -> None:
        """Have the next comparison made soon."""
        self._asked.set()

    async def fill(self) -> None:
        """Take in all trainings, Jobs and pods, and queue every training.

        Raises:
            ClusterError: a list could not be had.
        """
        # At once: while one page is decoded here, the API server makes those of the others.
        try:
            async with asyncio.TaskGroup() as group:
                for resource in WATCHED:
                    group.create_task(self._fill_kind(resource))
        except* ClusterError as errors:
            raise errors.exceptions[0] from None
        self._finish()

    async def _fill_kind(self, resource: Resource) -> None:
        async for body in self._list(resource):
            self._cache.apply(resource, body)

    async def run(self) -> None:
        """Compare from time to time until cancelled."""
        delay_s = self._interval_s
        while True:
            await self._pause(delay_s)
            try:
                await self.compare()
            except ClusterError as error:
                logger.warning("the cache could not be compared with the cluster: %s", error)
                delay_s = RETRY_S
            except Exception:
                # A mistake of ours in one comparison must not stop those that follow.
                logger.exception("comparing the cache with the cluster failed")
                delay_s = RETRY_S
            else:
                delay_s = self._interval_s

    async def compare(self) -> None:
        """Forget what is gone, take in what was missed, and queue every training.

        Raises:
            ClusterError: a list could not be had.
        """
        self.tried_at = self._clock()
        pruned = missed = 0
        for resource in WATCHED:
            gone, new = await self._compare_kind(resource)
            pruned, missed = pruned + gone, missed + new
        self._cache.drop_past_orphans()
        self._tidy()
        self._telemetry.resynced(pruned, missed)
        if pruned or missed:
            logger.info("%d records were gone, %d objects had been missed", pruned, missed)
        self._finish()

    async def _compare_kind(self, resource: Resource) -> tuple[int, int]:
        known = self._cache.versions(resource)
        missed: list[Key] = []
        async for item in self._list(resource, metadata_only=True):
            version = version_of(item)
            had = known.pop(version.uid, None)
            if had is None or had.is_before(version):
                metadata = item["metadata"]
                missed.append(Key(metadata["namespace"], metadata["name"]))
        for uid in known:
            for key in self._cache.forget(resource, uid):
                self._queue.add(key)
        return len(known), await self._take_in(resource, missed)

    async def _take_in(self, resource: Resource, missed: list[Key]) -> int:
        """Read what the list has in a newer state; its event may have come by now."""
        count = 0
        async for body in self._read(resource, missed):
            concerned = self._cache.apply(resource, body)
            count += bool(concerned)
            for training in concerned:
                self._queue.add(training)
        return count

    async def _read(self, resource: Resource, wanted: list[Key]) -> AsyncIterator[Object]:
        """Read at least `wanted`, as far as it is still there."""
        if len(wanted) > FEW:
            async for body in self._list(resource):
                yield body
            return
        for key in wanted:
            with contextlib.suppress(NotFoundError):
                yield await self._client.get(resource, key.namespace, key.name)

    async def _list(
        self, resource: Resource, *, metadata_only: bool = False
    ) -> AsyncIterator[Object]:
        selector = SELECTORS[resource]
        for place in self._places:
            async for item in self._client.items(
                resource, place, labels=selector, metadata_only=metadata_only
            ):
                yield item

    def _finish(self) -> None:
        self.tried_at = self.done_at = self._clock()
        self._queue.add_all(self._cache.training_keys())

    async def _pause(self, delay_s: float) -> None:
        spread = 1 + SPREAD * (2 * random.random() - 1)  # noqa: S311 - spreads load, no secret
        try:
            async with asyncio.timeout(delay_s * spread):
                await self._asked.wait()
                await asyncio.sleep(SETTLE_S)
        except TimeoutError:
            pass
        self._asked.clear()
