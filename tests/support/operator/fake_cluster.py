"""A small API server in memory, with the methods of `cluster.api.client.Client`."""

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable

from detection_operator.cluster.api.client import PAGE_SIZE, Client
from detection_operator.cluster.api.resources import Object, Resource
from detection_operator.errors import AlreadyExistsError, ConflictError, NotFoundError

Place = tuple[str, str, str]


class FakeCluster(Client):
    """Objects by plural, namespace and name; `calls` records the requests."""

    def __init__(self) -> None:  # nothing is connected
        self.objects: dict[Place, Object] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.failures: dict[tuple[str, str], Exception] = {}
        self.while_listing: dict[str, Callable[[], object]] = {}
        self.while_getting: Callable[[], object] = lambda: None
        self.before_status: Callable[[], object] = lambda: None
        self._versions = itertools.count(100)

    def put(self, resource: Resource, body: Object) -> Object:
        """Store an object as it is, with a new resourceVersion."""
        body = copy.deepcopy(body)
        metadata = body["metadata"]
        metadata.setdefault("namespace", "vision")
        metadata.setdefault("uid", f"uid-{resource.plural}-{metadata['name']}")
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[resource.plural, metadata["namespace"], metadata["name"]] = body
        return copy.deepcopy(body)

    def find(self, resource: Resource, name: str, namespace: str = "vision") -> Object | None:
        return self.objects.get((resource.plural, namespace, name))

    def names(self, resource: Resource) -> list[str]:
        return sorted(name for plural, _, name in self.objects if plural == resource.plural)

    def called(self, verb: str, resource: Resource) -> list[str]:
        return [name for v, plural, name in self.calls if (v, plural) == (verb, resource.plural)]

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        self._ask("get", resource, name)
        self.while_getting()
        found = self.find(resource, name, namespace)
        if found is None:
            raise NotFoundError(f"GET {resource.path(namespace, name)}", 404, "not found")
        return copy.deepcopy(found)

    async def items(  # noqa: PLR0913 - as the client's
        self,
        resource: Resource,
        namespace: str | None,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[Object]:
        del metadata_only, page_size
        self._ask("list", resource, fields or labels)
        self.while_listing.get(resource.plural, lambda: None)()
        for (plural, place, _), body in list(self.objects.items()):
            here = plural == resource.plural and namespace in (None, place)
            if here and _has_fields(body, fields):
                yield copy.deepcopy(body)

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        name = body["metadata"]["name"]
        self._ask("create", resource, name)
        if self.find(resource, name, namespace):
            raise AlreadyExistsError(f"POST {resource.path(namespace)}", 409, "exists")
        body = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
        return self.put(resource, body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, grace_s: int | None = None
    ) -> None:
        self._ask("delete" if grace_s is None else f"delete-{grace_s}", resource, name)
        found = self.find(resource, name, namespace)
        if found is None:
            raise NotFoundError(f"DELETE {resource.path(namespace, name)}", 404, "not found")
        if found["metadata"]["uid"] != uid:
            raise ConflictError(f"DELETE {resource.path(namespace, name)}", 409, "other uid")
        del self.objects[resource.plural, namespace, name]

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        self._ask("update", resource, name)
        found = self.find(resource, name, namespace)
        if found is None:
            raise NotFoundError(f"PUT {resource.path(namespace, name)}", 404, "not found")
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise ConflictError(f"PUT {name}", 409, "the object has been modified")
        return self.put(resource, body)

    async def wait_change(
        self, resource: Resource, namespace: str, name: str, resource_version: str
    ) -> None:
        self._ask("watch", resource, name)
        for _ in range(200):
            found = self.find(resource, name, namespace)
            if found is None or found["metadata"]["resourceVersion"] != resource_version:
                return
            await asyncio.sleep(0.1)

    async def replace_status(
        self, resource: Resource, namespace: str, name: str, resource_version: str, status: Object
    ) -> Object:
        self._ask("patch", resource, name)
        self.before_status()
        found = await self.get(resource, namespace, name)
        if found["metadata"]["resourceVersion"] != resource_version:
            raise ConflictError(f"PATCH {name}", 409, "the object has been modified")
        return self.put(resource, {**found, "status": status})

    def _ask(self, verb: str, resource: Resource, name: str) -> None:
        self.calls.append((verb, resource.plural, name))
        failure = self.failures.get((verb, resource.plural))
        if failure is not None:
            raise failure


def _has_fields(body: Object, fields: str) -> bool:
    """Return whether `body` fits a field selector `a.b=c,d!=e`; a missing field fits."""
    for field in filter(None, fields.split(",")):
        path, _, wanted = field.partition("=")
        found: object = body
        for segment in path.removesuffix("!").split("."):
            found = found.get(segment) if isinstance(found, dict) else None
        if found is not None and (found == wanted) == path.endswith("!"):
            return False
    return True
