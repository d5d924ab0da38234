"""Objects that cannot be read, each by itself: the operator serves all others.

Such objects exist: they are never treated as absent or deleted, and are read again when they
change.
"""

import logging
from collections.abc import Callable  # noqa: TC003 - as everywhere here
from dataclasses import dataclass

from detection_operator import names
from detection_operator.cluster.api.resources import Key, Object, Resource, controller_of
from detection_operator.cluster.observe.records import Version, version_of
from detection_operator.logs import about

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """An object that cannot be read."""

    resource: Resource
    key: Key
    version: Version
    owners: frozenset[str]
    """The uids of the trainings to which the Job or pod may belong."""
    problem: str

    def __str__(self) -> str:
        """Return the message about the object for a person."""
        return f"{self.resource.kind} {self.key} cannot be read: {self.problem}"


def held_body(resource: Resource, body: Object, error: Exception) -> Held:
    """Return an object that cannot be read because of `error`."""
    metadata = body["metadata"]
    key = Key(metadata.get("namespace", ""), metadata.get("name", ""))
    problem = f"{type(error).__name__}: {error}"
    return Held(resource, key, version_of(body), _owners(body), problem)


class Quarantine:
    """The objects that cannot be read, by uid."""

    def __init__(self) -> None:
        """Begin empty."""
        self._held: dict[str, Held] = {}
        self.on_held: Callable[[str], None] = lambda _plural: None
        """Called for each version of an object that is added."""

    def __len__(self) -> int:
        """Return how many objects are in quarantine."""
        return len(self._held)

    def hold(self, held: Held) -> None:
        """Add an object; log it once for each of its versions."""
        before = self._held.get(held.version.uid)
        if before is not None and not before.version.is_before(held.version):
            return
        self._held[held.version.uid] = held
        self.on_held(held.resource.plural)
        logger.warning(
            "%s; it is read again when it changes, the others are served",
            held,
            extra=about(held.key),
        )

    def release(self, uid: str, version: Version | None = None) -> None:
        """Remove an object: it is gone (None), or could be read at `version`."""
        held = self._held.get(uid)
        if held is not None and (version is None or held.version.is_before(version)):
            del self._held[uid]

    def of_training(self, namespace: str, uid: str) -> Held | None:
        """Return an object that may belong to a training, if there is one."""
        if not self._held:
            return None
        found = (h for h in self._held.values() if uid in h.owners and h.key.namespace == namespace)
        return next(found, None)

    def versions(self, resource: Resource, namespace: str | None = None) -> dict[str, Version]:
        """Return the versions of the objects of a kind in quarantine, by uid."""
        return {
            uid: held.version
            for uid, held in self._held.items()
            if held.resource is resource and namespace in (None, held.key.namespace)
        }


def _owners(body: Object) -> frozenset[str]:
    """Return the uids of the trainings that an object names, as far as they can be read."""
    try:
        labels = body["metadata"].get("labels") or {}
        named = {labels.get(names.LABEL_TRAINING_UID), controller_of(body).get("uid")}
    except (AttributeError, TypeError):
        return frozenset()
    return frozenset(uid for uid in named if isinstance(uid, str))
