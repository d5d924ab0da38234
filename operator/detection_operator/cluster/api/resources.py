"""The kinds of objects that the operator reads and writes, and where the API serves them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from detection_operator.api import v1alpha1

Object = dict[str, Any]
"""A Kubernetes object as decoded from JSON."""


class Key(NamedTuple):
    """Which training: what the queue holds."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return it as people write it."""
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
        """Return the path of a collection (of all namespaces: None), object or subresource."""
        place = f"/namespaces/{namespace}" if namespace is not None else ""
        parts = [f"{self.prefix}{place}/{self.plural}", name, subresource]
        return "/".join(part for part in parts if part)


TRAININGS = Resource(f"/apis/{v1alpha1.API_VERSION}", v1alpha1.PLURAL, v1alpha1.KIND)
JOBS = Resource("/apis/batch/v1", "jobs", "Job")
PODS = Resource("/api/v1", "pods", "Pod")
CLAIMS = Resource("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CONFIG_MAPS = Resource("/api/v1", "configmaps", "ConfigMap")
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy")
SERVICES = Resource("/api/v1", "services", "Service")
EVENTS = Resource("/api/v1", "events", "Event")
LEASES = Resource("/apis/coordination.k8s.io/v1", "leases", "Lease")
WATCHED = (TRAININGS, JOBS, PODS)


def controller_of(body: Object) -> Object:
    """Return the owner reference of the object's controller, or an empty one."""
    owners: list[Object] = body["metadata"].get("ownerReferences", [])
    return next((owner for owner in owners if owner.get("controller")), {})
