"""When each training's Job, or its end, was first seen in a watch."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from detection_operator.names import LABEL_TRAINING
from sandbox.site.kube import ApiError, AsyncKube

Object = dict[str, Any]
WAIT_S = 1800.0


@dataclass(slots=True)
class Sightings:
    """Names of trainings and when they were first seen, in seconds of the monotonic clock."""

    at: dict[str, float] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    failure: Exception | None = None
    """The error that ended the watch."""

    async def wait(self, names: list[str], timeout_s: float = WAIT_S) -> float:
        """Wait until all of `names` were seen; return when the last of them was.

        Raises:
            TimeoutError: some were not seen.
            ApiError, aiohttp.ClientError: the watch ended.
        """
        async with asyncio.timeout(timeout_s), self.changed:
            await self.changed.wait_for(
                lambda: self.failure is not None or all(name in self.at for name in names)
            )
        if self.failure is not None:
            raise self.failure
        return max(self.at[name] for name in names)

    async def _follow(
        self, client: AsyncKube, path: str, since: str, name_of: Callable[[Object], str | None]
    ) -> None:
        try:
            async for event in client.watch(path, since=since):
                name = name_of(event["object"])
                if name is not None and name not in self.at:
                    self.at[name] = time.monotonic()
                    await self._notify()
        except (ApiError, aiohttp.ClientError) as error:
            self.failure = error
            await self._notify()

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def training_of(body: Object) -> str | None:
    """Return the training in an object's labels."""
    name = (body["metadata"].get("labels") or {}).get(LABEL_TRAINING)
    return None if name is None else str(name)


@asynccontextmanager
async def sightings(
    client: AsyncKube, path: str, name_of: Callable[[Object], str | None] = training_of
) -> AsyncIterator[Sightings]:
    """Follow what happens from now on in the collection at `path`.

    Existing objects are skipped: ten thousand would take longer than the measurement.
    """
    seen, since = Sightings(), await client.version(path)
    task = asyncio.create_task(seen._follow(client, path, since, name_of))  # noqa: SLF001 - its own task
    try:
        yield seen
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def wait_phase(
    client: AsyncKube, path: str, phase: str, enough: Callable[[set[str]], bool]
) -> None:
    """Wait until `enough` accepts the names seen in `phase` at the collection `path`."""
    seen: set[str] = set()
    # The API server writes JSON without spaces.
    wanted = f'"phase":"{phase}"'.encode()
    async for event in client.watch(path, metadata_only=False, containing=wanted):
        body = event["object"]
        if (body.get("status") or {}).get("phase") == phase:
            seen.add(body["metadata"]["name"])
        if enough(seen):
            return
