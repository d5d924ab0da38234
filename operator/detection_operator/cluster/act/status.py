"""Writes a training's status: only if it differs, and only onto the state it was made from."""

from datetime import datetime
from http import HTTPStatus
from typing import Any

from detection_operator.api.conditions import ConditionType, Reason
from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import TRAININGS, Key, Object
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.parse import render_status
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.core.case import clip
from detection_operator.core.phases import MAX_MESSAGE
from detection_operator.core.state import Training
from detection_operator.errors import ConflictError, NotFoundError


class StatusWriter:
    """The only writer of statuses."""

    def __init__(self, client: Client, cache: Cache, queue: KeyQueue) -> None:
        """Store the API's answers in `cache`, and add the trainings that wait for one to `queue`.

        The watch reports the same version again; the cache then ignores it.
        """
        self._client, self._cache, self._queue = client, cache, queue

    async def write(self, training: Training, status: Status) -> bool:
        """Write `status` if it differs from `training.status`; return whether it was written.

        Raises:
            ConflictError: the training is no longer in the state that was read.
            NotFoundError: it is gone.
        """
        if status == training.status:
            return False
        rendered = render_status(status)
        if rendered == render_status(training.status):
            return False
        who = training.identity
        body = await self._client.replace_status(
            TRAININGS, who.namespace, who.name, training.resource_version, rendered
        )
        self._take_in(Key(who.namespace, who.name), body)
        return True

    async def report_unreadable(self, key: Key, problem: str, now: datetime) -> None:
        """Report in the conditions why nothing is decided; the rest of the status stays as it is.

        Raises:
            ClusterError: it could not be written.
        """
        record = self._cache.training(key)
        if record is None:
            return
        status = record.stored_status()
        conditions = unreadable_conditions(status.get("conditions"), problem, now)
        if conditions == status.get("conditions"):
            return
        body = await self._client.replace_status(
            TRAININGS,
            key.namespace,
            key.name,
            record.version.resource_version,
            {**status, "conditions": conditions},
        )
        self._take_in(key, body)

    async def confirm(self, training: Training) -> None:
        """Check with the API, not a watch, that the training is still in the state that was read.

        Raises:
            ConflictError: it is not.
            NotFoundError: it is gone.
        """
        who = training.identity
        found = await self._client.get(TRAININGS, who.namespace, who.name)
        version = found["metadata"]["resourceVersion"]
        if version != training.resource_version:
            msg = f"it has resourceVersion {version}, and was read at {training.resource_version}"
            raise ConflictError(f"confirming {who.namespace}/{who.name}", HTTPStatus.CONFLICT, msg)

    def _take_in(self, own: Key, body: Object) -> None:
        """Store the answer to a write, and queue the other trainings that it affects."""
        for key in self._cache.apply(TRAININGS, body) - {own}:
            self._queue.add(key)

    async def refresh(self, key: Key) -> None:
        """Read a training again because another process wrote to it."""
        try:
            body = await self._client.get(TRAININGS, key.namespace, key.name)
        except NotFoundError:
            record = self._cache.training(key)
            concerned = self._cache.forget(TRAININGS, record.version.uid) if record else frozenset()
        else:
            concerned = self._cache.apply(TRAININGS, body)
        for other in concerned - {key}:
            self._queue.add(other)


def unreadable_conditions(stored: Any, problem: str, now: datetime) -> list[Object]:
    """Return the conditions `stored`, with Ready and Stalled stating what cannot be read."""
    before = {
        entry["type"]: entry
        for entry in (stored if isinstance(stored, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("type"), str)
    }
    for kind, value in ((ConditionType.READY, "False"), (ConditionType.STALLED, "True")):
        old = before.get(kind, {})
        same = old.get("status") == value
        stamp = f"{now.replace(microsecond=0, tzinfo=None).isoformat()}Z"
        before[kind] = {
            **old,
            "type": kind.value,
            "status": value,
            "lastTransitionTime": old.get("lastTransitionTime", stamp) if same else stamp,
            "reason": Reason.UNREADABLE.value,
            "message": clip(problem, MAX_MESSAGE),
        }
    return list(before.values())
