"""The kinds of objects that the operator reads and writes, and where the API serves them."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from detection_operator.api import v1alpha1
from detection_operator.errors import InvalidError

Object = dict[str, Any]
"""A Kubernetes object as decoded from JSON."""


class Key(NamedTuple):
    """Identifies a training: the items of the queue."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return the key as people write it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of namespaced object."""

    prefix: str
    """`/api/v1` or `/apis/<group>/<version>`."""
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """`v1` or `<group>/<version>`."""
        return self.prefix.removeprefix("/apis/").removeprefix("/api/")

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the path of a collection (of all namespaces: None), object or subresource.

        Names come from specs, tokens and URLs: a name is one segment, whatever it contains.

        Raises:
            InvalidError: a name is a dot segment, which HTTP clients resolve before they send it.
        """
        place = f"/namespaces/{_segment(namespace)}" if namespace is not None else ""
        parts = [f"{self.prefix}{place}/{self.plural}", _segment(name), subresource]
        return "/".join(part for part in parts if part)


TRAININGS = Resource(f"/apis/{v1alpha1.API_VERSION}", v1alpha1.PLURAL, v1alpha1.KIND)
JOBS = Resource("/apis/batch/v1", "jobs", "Job")
PODS = Resource("/api/v1", "pods", "Pod")
CLAIMS = Resource("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CONFIG_MAPS = Resource("/api/v1", "configmaps", "ConfigMap")
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
SERVICES = Resource("/api/v1", "services", "Service")
SECRETS = Resource("/api/v1", "secrets", "Secret")
EVENTS = Resource("/api/v1", "events", "Event")
LEASES = Resource("/apis/coordination.k8s.io/v1", "leases", "Lease")
WATCHED = (TRAININGS, JOBS, PODS)


def _segment(name: str) -> str:
    if name in {".", ".."}:
        msg = f"expected the name of an object; received {name!r}"
        raise InvalidError("building a path", HTTPStatus.BAD_REQUEST, msg)
    return quote(name, safe="")


def controller_of(body: Object) -> Object:
    """Return the owner reference of the object's controller, or an empty one."""
    owners: list[Object] = body["metadata"].get("ownerReferences", [])
    return next((owner for owner in owners if owner.get("controller")), {})
