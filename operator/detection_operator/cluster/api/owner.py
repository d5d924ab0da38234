"""The owner of what the operator creates for itself: its Lease and the Secret of its certificate.

The owner is the operator's Service, which the chart creates. When Helm deletes the Service, the
cluster's garbage collector deletes both. An operator that is still ending may create its Lease
again; the reference then names an owner that is gone, and the Lease is collected too.

The Service is used and not the Deployment: a Deployment that is deleted and created again would
take the certificate's authority with it, and running trainers trust that authority.
"""

import logging

from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.resources import SERVICES, Key, Object
from detection_operator.errors import ForbiddenError, NotFoundError

logger = logging.getLogger(__name__)


class OwnService:
    """The operator's Service, as the owner of other objects."""

    def __init__(self, client: Client, place: Key | None) -> None:
        """Read the Service at `place`; None: the operator has no Service, and nothing an owner."""
        self._client, self._place = client, place
        self._reference: Object | None = None
        self._is_known = place is None

    async def prepare(self) -> None:
        """Read the Service, unless it was read before.

        A standby reads it while it exists: during an uninstall it may be the first to see that the
        Lease is gone, and must create none without an owner.

        Raises:
            ClusterError: the Service could not be read.
        """
        if self._place is not None and not self._is_known:
            await self._look(self._place)

    async def own(self, body: Object, *, is_new: bool = False) -> Object:
        """Return `body` with an owner reference to the Service.

        The Service is read once, for each new object, and for an object with another uid of it: a
        Service that was created again has a new uid.

        Raises:
            ClusterError: the Service could not be read.
        """
        if self._place is None:
            return body
        metadata: Object = body["metadata"]
        owners: list[Object] = metadata.get("ownerReferences") or []
        mine = SERVICES.kind, self._place.name
        ours = [owner for owner in owners if (owner["kind"], owner["name"]) == mine]
        await self.prepare()
        if is_new or (ours and ours != [self._reference]):
            await self._look(self._place)
        if self._reference is None or ours == [self._reference]:
            return body
        others = [owner for owner in owners if owner not in ours]
        return {**body, "metadata": {**metadata, "ownerReferences": [*others, self._reference]}}

    async def _look(self, place: Key) -> None:
        try:
            found = await self._client.get(SERVICES, *place)
        except NotFoundError:
            # It is being uninstalled: keep the old reference, so that nothing new is left behind.
            logger.info("Service %s does not exist", place)
        except ForbiddenError as error:
            if not self._is_known:
                logger.warning(
                    "reading Service %s is forbidden: the operator's Lease and Secret get no owner "
                    "and remain after `helm uninstall`; install the chart's Role (%s)",
                    place,
                    error,
                )
        else:
            # No controller, and no blockOwnerDeletion, which would need a right on its finalizers.
            self._reference = {
                "apiVersion": SERVICES.api_version,
                "kind": SERVICES.kind,
                "name": place.name,
                "uid": found["metadata"]["uid"],
            }
        self._is_known = True
