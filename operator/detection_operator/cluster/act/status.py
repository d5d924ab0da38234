"""Writes a training's status: only where it differs, and only onto the state it was made from."""

from http import HTTPStatus

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import TRAININGS, Key
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.parse import render_status
from detection_operator.core.state import Training
from detection_operator.errors import ConflictError, NotFoundError


class StatusWriter:
    """The one place where statuses are written."""

    def __init__(self, client: Client, cache: Cache) -> None:
        """Let `cache` have what the API answers, so that the next look sees it at once."""
        self._client, self._cache = client, cache

    async def write(self, training: Training, status: Status) -> bool:
        """Write `status` if it says other than `training.status`; return whether it did.

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
        self._cache.apply(TRAININGS, body)
        return True

    async def confirm(self, training: Training) -> None:
        """Return if the training is still in the state that was read; asks the API, not a watch.

        Raises:
            ConflictError: it is not.
            NotFoundError: it is gone.
        """
        who = training.identity
        found = await self._client.get(TRAININGS, who.namespace, who.name)
        version = found["metadata"]["resourceVersion"]
        if version != training.resource_version:
            msg = f"it is at {version}, and was read at {training.resource_version}"
            raise ConflictError(f"confirming {who.namespace}/{who.name}", HTTPStatus.CONFLICT, msg)

    async def refresh(self, key: Key) -> None:
        """Read a training again, since another wrote to it."""
        try:
            body = await self._client.get(TRAININGS, key.namespace, key.name)
        except NotFoundError:
            if record := self._cache.training(key):
                self._cache.forget(TRAININGS, record.version.uid)
        else:
            self._cache.apply(TRAININGS, body)
