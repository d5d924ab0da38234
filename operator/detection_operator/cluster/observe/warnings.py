"""What Events report of Jobs without a pod, pods without a container, claims without a volume.

Events are not watched: fewer than one in a thousand is needed. They are not read per object either:
for each query the API server reads every Event of the namespace. So while something is overdue, the
warnings are listed from time to time, once for everything that waits.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from detection_operator.api.times import utc_now
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import (
    CLAIMS,
    EVENTS,
    JOBS,
    PODS,
    Key,
    Object,
    Resource,
)
from detection_operator.cluster.observe.parse import BORN, parse_time
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.errors import ClusterError

logger = logging.getLogger(__name__)

EVERY_S = 5.0
LARGEST_SHARE = 0.1
"""The fraction of time that lists may take: the more Events there are, the less often they are
listed.
"""
SELECTORS = {
    JOBS: "involvedObject.kind=Job,reason=FailedCreate",
    # A scheduler's message is in the pod's own status.
    PODS: "involvedObject.kind=Pod,type=Warning,reason!=FailedScheduling",
    # An Event that reports only the progress of provisioning explains nothing.
    CLAIMS: "involvedObject.kind=PersistentVolumeClaim,reason!=WaitForFirstConsumer,"
    "reason!=WaitForPodScheduled,reason!=Provisioning,reason!=ProvisioningSucceeded",
}


@dataclass(frozen=True, slots=True)
class Overdue:
    """A Job, pod or claim whose pod, container or volume should exist by `since`."""

    resource: Resource
    uid: str
    """The uid; of a claim, whose uid is not known, that of its pod and its name (`claim_id`)."""
    since: datetime
    name: str = ""
    """Of a claim: the name by which its Events are found."""

    @property
    def subject(self) -> str:
        """The object that its Events name."""
        return self.name or self.uid


def claim_id(pod_uid: str, name: str) -> str:
    """Return the id under which a claim is followed, for one pod that mounts it."""
    return f"{pod_uid}/{name}"


@dataclass(frozen=True, slots=True)
class WarningEvent:
    """The content of the newest Event."""

    reason: str
    message: str


class WarningEvents:
    """Collects Events about what is overdue, and queues a training when they change."""

    def __init__(
        self,
        client: Client,
        queue: KeyQueue,
        *,
        now: Callable[[], datetime] = utc_now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without Events."""
        self._client, self._queue, self._now, self._clock = client, queue, now, clock
        self._followed: dict[Key, dict[str, Overdue]] = {}
        self._known: dict[str, WarningEvent] = {}
        self._some = asyncio.Event()

    def follow(self, key: Key, objects: Iterable[Overdue]) -> None:
        """From now on, collect Events about these objects of a training, and about no others."""
        before = self._followed.pop(key, {})
        after = {overdue.uid: overdue for overdue in objects}
        for uid in before.keys() - after.keys():
            self._known.pop(uid, None)
        if after:
            self._followed[key] = after
            self._some.set()

    def of(self, uid: str) -> WarningEvent | None:
        """Return the last Event about an object that is followed."""
        return self._known.get(uid)

    async def run(self) -> None:
        """List while something is overdue, until cancelled; begins with nothing followed."""
        self._followed.clear()
        self._known.clear()
        logged = ""
        while True:
            await self._some.wait()
            started = self._clock()
            try:
                await self.read()
            except ClusterError as error:
                if logged != str(error):
                    logged = str(error)
                    logger.warning("why pods do not start could not be read: %s", error)
            else:
                logged = ""
            if not self._followed:
                self._some.clear()
            took_s = self._clock() - started
            await asyncio.sleep(max(EVERY_S, took_s / LARGEST_SHARE))

    async def read(self) -> None:
        """List the Events of all that is overdue, and queue the trainings with new ones.

        Raises:
            ClusterError: a list could not be read; the Events of the others are stored all the
                same.
        """
        now = self._now()
        wanted = {
            uid: (key, overdue)
            for key, objects in self._followed.items()
            for uid, overdue in objects.items()
            if overdue.since <= now
        }
        problem: ClusterError | None = None
        places: defaultdict[tuple[Resource, str], list[tuple[Key, Overdue]]] = defaultdict(list)
        for key, overdue in wanted.values():
            places[overdue.resource, key.namespace].append((key, overdue))
        for (resource, namespace), followed in places.items():
            subjects = {overdue.subject for _, overdue in followed}
            try:
                newest = await self._newest(resource, namespace, subjects)
            except ClusterError as error:
                problem = error
                continue
            for key, overdue in followed:
                if (event := newest.get(overdue.subject)) is not None:
                    self._take(key, overdue.uid, event)
        if problem is not None:
            raise problem

    async def _newest(
        self, resource: Resource, namespace: str, subjects: Collection[str]
    ) -> dict[str, Object]:
        """Return the newest Event of each of these objects that has one."""
        named_by = "name" if resource is CLAIMS else "uid"
        newest: dict[str, Object] = {}
        async for event in self._client.items(EVENTS, namespace, fields=SELECTORS[resource]):
            subject = (event.get("involvedObject") or {}).get(named_by, "")
            if subject in subjects and _is_newer(event, newest.get(subject)):
                newest[subject] = event
        return newest

    def _take(self, key: Key, uid: str, event: Object) -> None:
        warning = WarningEvent(str(event.get("reason", "")), str(event.get("message", "")))
        still_followed = uid in self._followed.get(key, {})
        if still_followed and self._known.get(uid) != warning:
            self._known[uid] = warning
            self._queue.add(key)


def _is_newer(event: Object, than: Object | None) -> bool:
    """Return whether `event` is more useful: a warning is, and of two alike the newer one."""
    return than is None or _weight(event) > _weight(than)


def _weight(event: Object) -> tuple[bool, datetime]:
    return event.get("type") == "Warning", _time(event)


def _time(event: Object) -> datetime:
    text = event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp")
    return parse_time(text) or BORN
