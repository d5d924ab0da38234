"""Which replica plans: the one that holds a Lease and renews it.

The Lease saves work; correctness does not depend on it: names, 409s and preconditions also protect
against two leaders. The clocks of two machines are never compared: a lease has expired when its
text has not changed for its duration, by the monotonic clock of this process.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from detection_operator.api.times import utc_now
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.owner import OwnService
from detection_operator.cluster.api.resources import LEASES, Key, Object
from detection_operator.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    UnavailableError,
)

logger = logging.getLogger(__name__)

LEASE_S = 15.0
RENEW_DEADLINE_S = 10.0
"""A leader that could not renew for this long stops, well before another one may start."""
RETRY_S = 2.0
CALL_S = 3.0
PAUSE_S = 0.05
"""The time between a change of the lease that a standby receives and its read of the lease."""


class Move(Enum):
    """What a replica must do about the lease."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Seen:
    """The lease as last read, and since when (monotonic) its spec has not changed."""

    body: Object
    since: float

    @property
    def spec(self) -> Object:
        """The lease's spec."""
        return self.body.get("spec") or {}

    @property
    def holder(self) -> str:
        """The holder; empty after a release."""
        return self.spec.get("holderIdentity") or ""

    @property
    def runs_out_at(self) -> float:
        """When (monotonic) it may be taken, unless its holder renews it."""
        return self.since + float(self.spec.get("leaseDurationSeconds") or LEASE_S)


def observe(before: Seen | None, body: Object | None, now: float) -> Seen | None:
    """Return the lease as seen at `now`: a lease with an unchanged spec was not renewed."""
    if body is None:
        return None
    same = before is not None and before.spec == (body.get("spec") or {})
    return Seen(body, before.since if before is not None and same else now)


def decide(seen: Seen | None, identity: str, now: float) -> Move:
    """Return what the replica `identity` must do about the lease at `now`."""
    if seen is None:
        return Move.CREATE
    if seen.holder == identity:
        return Move.RENEW
    return Move.TAKE if not seen.holder or now >= seen.runs_out_at else Move.WAIT


def next_spec(seen: Seen | None, identity: str, now: datetime) -> Object:
    """Return the spec for `identity` as the holder from `now` on; empty identity: no holder."""
    stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = seen.spec if seen is not None else {}
    kept = seen is not None and seen.holder == identity
    changes = int(spec.get("leaseTransitions") or 0)
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": int(LEASE_S),
        "acquireTime": spec.get("acquireTime", stamp) if kept else stamp,
        "renewTime": stamp,
        "leaseTransitions": changes + (seen is not None and bool(identity) and not kept),
    }


class Election:
    """One replica's part: wait for the lease, work while holding it, release it at the end."""

    def __init__(
        self,
        client: Client,
        place: Key,
        identity: str,
        *,
        owner: OwnService | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compete as `identity` for the Lease at `place`, whose owner becomes `owner`.

        No other caller may use `client` and so delay a renewal.
        """
        self._client, (self._namespace, self._name) = client, place
        self._owner = owner if owner is not None else OwnService(client, None)
        self._identity, self._clock = identity, clock
        self._seen: Seen | None = None
        self._is_current = False
        """Whether the lease has not changed since it was read, as far as is known: no read is
        needed.
        """
        self._renewed_at = 0.0
        self.leading = False
        self.obstacle = ""
        """A problem that only a person can fix; empty if there is none."""

    @property
    def transitions(self) -> int:
        """How often the holder of the lease has changed, as last read."""
        return int(self._seen.spec.get("leaseTransitions") or 0) if self._seen else 0

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Compete until cancelled; `work` runs while the lease is held, and is cancelled with it.

        Raises:
            Exception: the error of `work`.
        """
        try:
            while True:
                await self._acquire()
                await self._lead(work)
        finally:
            await self._release()

    async def _lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        logger.info("%s leads", self._identity)
        self.leading = True
        tasks = [asyncio.create_task(work(), name="work"), asyncio.create_task(self._keep())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.leading = False
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        for result in ended:
            if isinstance(result, Exception):
                raise result
        logger.warning("%s is no longer the leader: %s", self._identity, self._why_lost())

    def _why_lost(self) -> str:
        if self._seen is not None and self._seen.holder not in {"", self._identity}:
            return f"{self._seen.holder} has acquired the lease"
        return f"the lease could not be renewed for {RENEW_DEADLINE_S:.0f} s"

    async def _acquire(self) -> None:
        """Wait until this replica holds the lease, while watching the holder."""
        while not await self._step(CALL_S):
            seen = self._seen
            if seen is None or decide(seen, self._identity, self._clock()) is not Move.WAIT:
                await asyncio.sleep(RETRY_S)
            else:
                await self._await_change(seen)

    async def _await_change(self, seen: Seen) -> None:
        """Wait until the lease changes or expires."""
        version = seen.body["metadata"]["resourceVersion"]
        try:
            async with asyncio.timeout(seen.runs_out_at - self._clock()):
                await self._client.wait_change(LEASES, self._namespace, self._name, version)
                await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            return
        except ClusterError as error:
            self._note(error)
            await asyncio.sleep(RETRY_S)

    async def _keep(self) -> None:
        """Renew the lease until it is lost: another replica has it, or the deadline passes."""
        while (left_s := self._renewed_at + RENEW_DEADLINE_S - self._clock()) > 0:
            await asyncio.sleep(min(RETRY_S, left_s))
            left_s = self._renewed_at + RENEW_DEADLINE_S - self._clock()
            held = left_s > 0 and await self._step(min(CALL_S, left_s))
            if not held and self._seen is not None and self._seen.holder != self._identity:
                return

    async def _step(self, within_s: float) -> bool:
        """Write the lease if this replica may; return whether it was written."""
        started, was_current, self._is_current = self._clock(), self._is_current, False
        try:
            async with asyncio.timeout(within_s):
                await self._owner.prepare()
                if not was_current:
                    await self._look()
                if decide(self._seen, self._identity, self._clock()) is Move.WAIT:
                    self.obstacle = ""
                    return False
                written = await self._write(self._identity)
        except TimeoutError:
            logger.info("the lease could neither be read nor written within %.1f s", within_s)
            return False
        except ClusterError as error:
            self._note(error)
            return False
        self._seen, self._renewed_at = observe(self._seen, written, self._clock()), started
        self._is_current, self.obstacle = True, ""
        return True

    async def _look(self) -> None:
        body: Object | None = None
        with contextlib.suppress(NotFoundError):
            body = await self._client.get(LEASES, self._namespace, self._name)
        self._seen = observe(self._seen, body, self._clock())

    async def _write(self, holder: str) -> Object:
        """Create or replace the lease, if it is still the one that was seen."""
        spec = next_spec(self._seen, holder, utc_now())
        if self._seen is None:
            body: Object = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": {"name": self._name},
                "spec": spec,
            }
            owned = await self._owner.own(body, is_new=True)
            return await self._client.create(LEASES, self._namespace, owned)
        owned = await self._owner.own({**self._seen.body, "spec": spec})
        return await self._client.replace(LEASES, self._namespace, self._name, owned)

    async def _release(self) -> None:
        """Release the lease if it is held: another replica need not wait until it expires."""
        try:
            async with asyncio.timeout(CALL_S):
                # A write may have been interrupted: read its result.
                await self._look()
                if self._seen is not None and self._seen.holder == self._identity:
                    await self._write("")
                    logger.info("%s has released the lease", self._identity)
        except (TimeoutError, ClusterError) as error:
            logger.warning("releasing the lease failed; it expires by itself: %s", error)

    def _note(self, error: ClusterError) -> None:
        vanished = isinstance(error, NotFoundError) and self._seen is not None
        if vanished or isinstance(error, (ConflictError, AlreadyExistsError)):
            return  # Another replica was faster: read the lease again.
        problem = str(error)
        if isinstance(error, ForbiddenError):
            problem = (
                f"the service account may not get, watch, create and update the Lease "
                f"{self._namespace}/{self._name}, by which the replicas elect a leader; install "
                f"the chart's Role for it ({error})"
            )
        lasting = "" if isinstance(error, UnavailableError) else problem
        if problem != self.obstacle:
            logger.warning("acquiring the lease failed: %s", problem)
        self.obstacle = lasting
