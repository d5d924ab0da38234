"""The client against a local server with prepared answers."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from detection_operator import errors
from detection_operator.cluster.api.client import (
    MAX_BYTES,
    METADATA_ONLY,
    POOL_SIZE,
    Client,
    load_configuration,
    trusts_environment,
)
from detection_operator.cluster.api.resources import CONFIG_MAPS, JOBS, LEASES, PODS, TRAININGS
from tests.support.operator.hostile import api_bytes, nested
from tests.support.operator.telemetry import Silence

Object = dict[str, Any]


class Counted(Silence):
    def __init__(self) -> None:
        self.requests: list[tuple[str, int]] = []

    def request_ended(self, verb: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.requests.append((verb, code))


class Server:
    """Gives the prepared answers, and records the requests."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[web.Request] = []
        self.bodies: list[Any] = []

        self.collection: Paged | None = None

    async def handle(self, request: web.Request) -> web.Response:
        if self.collection is not None:
            return self.collection.answer(request)
        self.asked.append(request)
        text = await request.text()
        self.bodies.append(json.loads(text) if text else None)
        status, body = self.answers.pop(0)
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, Client, Counted]]:
    behind, counted = Server(), Counted()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", behind.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    configuration.api_key["BearerToken"] = "Bearer abc"
    client = Client(configuration, counted)
    yield behind, client, counted
    await client.close()
    await runner.cleanup()


Scene = tuple[Server, Client, Counted]


async def test_an_object_is_read_with_our_credentials(server: Scene) -> None:
    behind, client, counted = server
    behind.answers = [(200, {"metadata": {"name": "a"}})]
    assert await client.get(JOBS, "vision", "a") == {"metadata": {"name": "a"}}
    [asked] = behind.asked
    assert asked.path == "/apis/batch/v1/namespaces/vision/jobs/a"
    assert asked.headers["Authorization"] == "Bearer abc"
    assert asked.headers["User-Agent"] == "detection-operator"
    assert counted.requests == [("get", 200)]


async def test_a_list_is_read_page_by_page(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [
        (200, {"metadata": {"continue": "more"}, "items": [{"n": 1}, {"n": 2}]}),
        (200, {"metadata": {}, "items": [{"n": 3}]}),
    ]
    found = client.items(TRAININGS, None, labels="a=b", metadata_only=True, page_size=2)
    assert [item["n"] async for item in found] == [1, 2, 3]
    first, second = behind.asked
    assert first.path == "/apis/detectiontraining.dev/v1alpha1/detectiontrainings"
    assert dict(first.query) == {"limit": "2", "labelSelector": "a=b"}
    assert second.query["continue"] == "more"
    assert first.headers["Accept"] == METADATA_ONLY


class Paged:
    """A collection of objects whose sizes are `lengths`, as an API server pages it."""

    def __init__(self, *lengths: int) -> None:
        self.lengths = lengths
        self.limits: list[int] = []

    def answer(self, request: web.Request) -> web.Response:
        limit, begin = int(request.query["limit"]), int(request.query.get("continue", 0))
        self.limits.append(limit)
        end = min(begin + limit, len(self.lengths))
        items = [{"n": n, "text": "x" * self.lengths[n]} for n in range(begin, end)]
        rest = {"continue": str(end)} if end < len(self.lengths) else {}
        return web.json_response({"metadata": rest, "items": items})


PAGES: dict[str, tuple[tuple[int, ...], list[int]]] = {
    "small objects: as many as the largest page has": ((10,) * 700, [100, 500, 500]),
    "large ones: fewer at once": ((2**20,) * 20, [100, 25, 6, 3]),
    "large ones after small ones": ((10,) * 100 + (2**20,) * 10, [100, 500, 125, 31, 7, 3]),
}


@pytest.mark.parametrize(("lengths", "limits"), PAGES.values(), ids=PAGES.keys())
async def test_a_page_has_as_many_objects_as_memory_allows(
    server: Scene, lengths: tuple[int, ...], limits: list[int]
) -> None:
    behind, client, _ = server
    paged = Paged(*lengths)
    behind.collection = paged
    found = [item["n"] async for item in client.items(PODS, None)]
    assert found == list(range(len(lengths)))
    assert paged.limits[: len(limits)] == limits


async def test_an_answer_that_is_too_large_is_not_read(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [(200, {"text": "x" * (MAX_BYTES + 1)})]
    with pytest.raises(errors.TooLargeError, match=f"at most {MAX_BYTES} bytes"):
        await client.get(CONFIG_MAPS, "vision", "large")


async def test_one_deep_object_does_not_hide_the_others_of_its_list(server: Scene) -> None:
    behind, client, _ = server
    items = [{"n": 1}, {"n": 2, "deep": nested(1200)}, {"n": 3}]
    behind.answers = [(200, api_bytes({"metadata": {}, "items": items}).decode())]
    assert [item["n"] async for item in client.items(PODS, None)] == [1, 2, 3]


async def test_an_empty_list_of_metadata_has_null_for_its_items(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [(200, {"metadata": {}, "items": None})]
    assert [item async for item in client.items(PODS, "vision", metadata_only=True)] == []


async def test_a_deletion_is_in_the_background_and_of_this_uid_only(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [(200, {}), (200, {})]
    await client.delete(JOBS, "vision", "a", uid="u")
    await client.delete(PODS, "vision", "p", uid="v", grace_s=0)
    background = {"propagationPolicy": "Background"}
    assert behind.bodies == [
        {**background, "preconditions": {"uid": "u"}},
        {**background, "preconditions": {"uid": "v"}, "gracePeriodSeconds": 0},
    ]


async def test_a_status_is_replaced_whole_onto_the_version_that_was_read(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [(200, {"metadata": {}})]
    await client.replace_status(TRAININGS, "vision", "trees", "7", {"step": 1})
    [asked] = behind.asked
    assert asked.path.endswith("/detectiontrainings/trees/status")
    assert asked.headers["Content-Type"] == "application/json-patch+json"
    assert behind.bodies == [
        [
            {"op": "add", "path": "/metadata/resourceVersion", "value": "7"},
            {"op": "add", "path": "/status", "value": {"step": 1}},
        ]
    ]


async def test_an_object_is_replaced_at_its_own_path(server: Scene) -> None:
    behind, client, counted = server
    behind.answers = [(200, {"metadata": {"resourceVersion": "8"}})]
    body = {"metadata": {"name": "a", "resourceVersion": "7"}}
    assert (await client.replace(LEASES, "system", "a", body))["metadata"]["resourceVersion"] == "8"
    assert behind.asked[0].path == "/apis/coordination.k8s.io/v1/namespaces/system/leases/a"
    assert (behind.asked[0].method, behind.bodies) == ("PUT", [body])
    assert counted.requests == [("update", 200)]


async def test_a_wait_for_a_change_starts_from_the_known_state(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [(200, {"type": "MODIFIED"}), (403, {"message": "no"})]
    await client.wait_change(LEASES, "system", "a", "7")
    [asked] = behind.asked
    assert (asked.query["watch"], asked.query["resourceVersion"]) == ("1", "7")
    assert asked.query["fieldSelector"] == "metadata.name=a"
    with pytest.raises(errors.ForbiddenError):
        await client.wait_change(LEASES, "system", "a", "7")


async def test_a_creation_posts_the_object(server: Scene) -> None:
    behind, client, _ = server
    behind.answers = [(201, {"metadata": {"uid": "x"}})]
    assert await client.create(JOBS, "vision", {"kind": "Job"}) == {"metadata": {"uid": "x"}}
    assert behind.bodies == [{"kind": "Job"}]


ANSWERS: dict[str, tuple[int, Any, type[errors.ClusterError]]] = {
    "a name is taken": (409, {"reason": "AlreadyExists"}, errors.AlreadyExistsError),
    "a precondition failed": (409, {"reason": "Conflict"}, errors.ConflictError),
    "there is none": (404, {"reason": "NotFound"}, errors.NotFoundError),
    "the list has expired": (410, {"reason": "Expired"}, errors.GoneError),
    "the token is not accepted": (401, {}, errors.UnauthorizedError),
    "a right is missing": (403, {"message": "cannot list jobs"}, errors.ForbiddenError),
    "the object is invalid": (422, {"reason": "Invalid"}, errors.InvalidError),
    "the request is invalid": (400, {}, errors.InvalidError),
    "too many requests": (429, {}, errors.UnavailableError),
    "the server is in trouble": (503, "no JSON at all", errors.UnavailableError),
    "something else": (418, {}, errors.ClusterError),
    "an answer that is no JSON": (200, "<html>", errors.UnavailableError),
    "an answer that is no object": (200, "[1]", errors.UnavailableError),
}


@pytest.mark.parametrize(("status", "body", "expected"), ANSWERS.values(), ids=ANSWERS.keys())
async def test_each_refusal_is_an_error_of_its_own(
    server: Scene, status: int, body: Any, expected: type[errors.ClusterError]
) -> None:
    behind, client, counted = server
    behind.answers = [(status, body)]
    with pytest.raises(errors.ClusterError) as raised:
        await client.get(JOBS, "vision", "a")
    assert type(raised.value) is expected
    assert "GET /apis/batch/v1/namespaces/vision/jobs/a: the API server" in str(raised.value)
    assert counted.requests == [("get", status)]


async def test_no_answer_has_its_own_error() -> None:
    counted = Counted()
    client = Client(Configuration(host="http://127.0.0.1:1"), counted)
    with pytest.raises(errors.UnavailableError, match="did not answer"):
        await client.get_path("/healthz")
    assert counted.requests == [("get", 0)]
    await client.close()


async def test_a_kubeconfig_gives_the_address_of_the_api(tmp_path: Path) -> None:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example:6443"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(document))
    found = await load_configuration({"KUBECONFIG": str(path), "KUBERNETES_SERVICE_HOST": "x"})
    assert found.host == "https://api.example:6443"
    assert found.connection_pool_maxsize == POOL_SIZE


@pytest.mark.parametrize(
    "environment",
    [{"KUBECONFIG": "/nowhere/at/all"}, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}],
    ids=["a kubeconfig that is not there", "a pod without a service account"],
)
async def test_without_credentials_the_error_names_what_was_looked_for(
    environment: dict[str, str],
) -> None:
    with pytest.raises(errors.ConfigurationError, match="expected a service account"):
        await load_configuration(environment)


@pytest.mark.parametrize(
    ("variables", "trusted"),
    [({}, False), ({"HTTPS_PROXY": "http://proxy:3128"}, True), ({"no_proxy": "x"}, True)],
)
def test_the_environment_is_read_for_each_request_only_if_it_configures_a_proxy(
    variables: dict[str, str], *, trusted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert trusts_environment() is trusted
