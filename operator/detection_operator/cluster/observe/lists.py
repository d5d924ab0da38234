"""Reads the watched objects from the API, one watched namespace at a time.

The resync calls it. Jobs and pods are listed only if they have the label of a training.
"""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

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
from detection_operator.cluster.observe.places import Place, Places
from detection_operator.errors import NotFoundError
from detection_operator.names import LABEL_TRAINING_UID

FEW = 50
"""Up to this number, objects are read one by one; more are listed."""

SELECTORS = {TRAININGS: "", JOBS: LABEL_TRAINING_UID, PODS: LABEL_TRAINING_UID}


class WatchedLists:
    """The lists of all watched kinds in the watched namespaces."""

    def __init__(self, client: Client, namespaces: Iterable[str]) -> None:
        """List in `namespaces` (none: in all)."""
        self._client = client
        self.places = Places(namespaces)

    async def probe(self, place: Place) -> None:
        """Check that all kinds can be listed in a place.

        Raises:
            ClusterError: one of them cannot be listed.
        """
        for resource in WATCHED:
            await self._client.request("list", resource.path(place), query={"limit": "1"})

    def items(
        self, resource: Resource, place: Place, *, metadata_only: bool = False
    ) -> AsyncIterator[Object]:
        """Return the objects of one kind in a place.

        Raises:
            ClusterError: the list could not be read.
        """
        labels = SELECTORS[resource]
        return self._client.items(resource, place, labels=labels, metadata_only=metadata_only)

    async def read(
        self, resource: Resource, place: Place, wanted: Sequence[Key]
    ) -> AsyncIterator[Object]:
        """Yield at least the objects `wanted` of a place that still exist.

        Raises:
            ClusterError: an object or the list could not be read.
        """
        if len(wanted) > FEW:
            async for body in self.items(resource, place):
                yield body
            return
        for key in wanted:
            with contextlib.suppress(NotFoundError):
                yield await self._client.get(resource, key.namespace, key.name)
