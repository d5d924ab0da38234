"""Paths of objects: any name is one segment."""

import pytest

from detection_operator.cluster.api.resources import CONFIG_MAPS, PODS, TRAININGS
from detection_operator.errors import InvalidError

PATHS = {
    "a collection of all namespaces": (None, "", "", "/api/v1/pods"),
    "a collection": ("vision", "", "", "/api/v1/namespaces/vision/pods"),
    "an object": ("vision", "trees.v1-2", "", "/api/v1/namespaces/vision/pods/trees.v1-2"),
    "a subresource": ("vision", "trees", "status", "/api/v1/namespaces/vision/pods/trees/status"),
    "slashes": ("a/b", "../x", "", "/api/v1/namespaces/a%2Fb/pods/..%2Fx"),
    "a query": ("vision", "x?watch=1", "", "/api/v1/namespaces/vision/pods/x%3Fwatch%3D1"),
    "a fragment": ("vision", "x#y", "", "/api/v1/namespaces/vision/pods/x%23y"),
    "what is escaped already": ("v", "%2F", "", "/api/v1/namespaces/v/pods/%252F"),
}


@pytest.mark.parametrize(("namespace", "name", "sub", "path"), PATHS.values(), ids=PATHS)
def test_a_name_is_one_segment_of_the_path(
    namespace: str | None, name: str, sub: str, path: str
) -> None:
    assert PODS.path(namespace, name, sub) == path


@pytest.mark.parametrize(("namespace", "name"), [("vision", ".."), ("..", "x"), ("vision", ".")])
def test_a_dot_segment_is_refused_since_clients_resolve_it(namespace: str, name: str) -> None:
    for resource in (TRAININGS, CONFIG_MAPS):
        with pytest.raises(InvalidError, match="expected the name of an object"):
            resource.path(namespace, name)
