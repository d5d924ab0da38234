"""The cluster decides which users may read the metrics."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from detection_operator.cluster.api.client import Client
from detection_operator.errors import ForbiddenError, UnavailableError
from detection_operator.server.metrics_access import (
    ACCESS_REVIEWS,
    ALLOWED_S,
    DENIED_S,
    TOKEN_REVIEWS,
    MetricsAccess,
)

Object = dict[str, Any]
SCRAPER = {"username": "system:serviceaccount:monitoring:prometheus", "groups": ["a"], "uid": "7"}


class Cluster(Client):
    """Knows the token `good`, and lets `SCRAPER` read while `allowed`."""

    def __init__(self) -> None:  # nothing is connected
        self.asked: list[tuple[str, Object]] = []
        self.allowed = True
        self.failure: Exception | None = None

    async def request(self, verb: Any, path: str, *, body: Any = None, **_: Any) -> Object:
        assert verb == "create"
        self.asked.append((path, body["spec"]))
        if self.failure is not None:
            raise self.failure
        if path == TOKEN_REVIEWS:
            good = body["spec"]["token"] == "good"
            return {"status": {"authenticated": True, "user": SCRAPER} if good else {}}
        assert path == ACCESS_REVIEWS
        return {"status": {"allowed": self.allowed}}


class Scene:
    def __init__(self) -> None:
        self.cluster, self.now, self.read = Cluster(), 1000.0, 0
        self.access = MetricsAccess(self.cluster, lambda: self.now)
        self.client: TestClient[Any, Any]

    async def serve(self, _: web.Request) -> web.Response:
        self.read += 1
        return web.Response(text="metrics")

    async def get(self, authorization: str | None = "Bearer good") -> int:
        headers = {} if authorization is None else {"Authorization": authorization}
        async with self.client.get("/metrics", headers=headers) as answer:
            if answer.status != 200:
                assert await answer.text()
            return answer.status


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    application = web.Application()
    application.router.add_get("/metrics", made.access.guard(made.serve))
    async with TestClient(TestServer(application)) as made.client:
        yield made


async def test_a_user_with_the_right_to_the_path_reads_it(scene: Scene) -> None:
    assert await scene.get() == 200
    [(_, review), (_, access)] = scene.cluster.asked
    assert review == {"token": "good"}
    assert access["nonResourceAttributes"] == {"path": "/metrics", "verb": "get"}
    assert (access["user"], access["groups"]) == (SCRAPER["username"], SCRAPER["groups"])


@pytest.mark.parametrize("header", [None, "", "Basic good", "Bearer", "Bearer ", "Bearer \xe9"])
async def test_without_a_token_the_cluster_is_not_even_asked(
    scene: Scene, header: str | None
) -> None:
    assert await scene.get(header) == 401
    assert (scene.cluster.asked, scene.read) == ([], 0)


async def test_a_token_that_the_cluster_does_not_know_reads_nothing(scene: Scene) -> None:
    assert await scene.get("Bearer stolen") == 401
    assert scene.read == 0


async def test_a_user_without_the_right_reads_nothing(scene: Scene) -> None:
    scene.cluster.allowed = False
    assert await scene.get() == 403
    assert scene.read == 0


async def test_a_verdict_is_remembered_for_a_while(scene: Scene) -> None:
    for _ in range(5):
        assert await scene.get() == 200
    assert len(scene.cluster.asked) == 2
    scene.cluster.allowed = False
    scene.now += ALLOWED_S
    assert await scene.get() == 403
    scene.cluster.allowed = True
    assert await scene.get() == 403
    scene.now += DENIED_S
    assert await scene.get() == 200


async def test_a_flood_of_tokens_is_not_passed_on_to_the_cluster(scene: Scene) -> None:
    statuses = [await scene.get(f"Bearer guess-{n}") for n in range(200)]
    assert set(statuses) == {401, 429}
    assert len(scene.cluster.asked) <= 10


@pytest.mark.parametrize(
    "failure", [ForbiddenError("POST", 403, "no"), UnavailableError("POST", 0, "refused")]
)
async def test_when_the_cluster_cannot_be_asked_every_read_is_refused(
    scene: Scene, failure: Exception
) -> None:
    scene.cluster.failure = failure
    assert await scene.get() == 503
    scene.cluster.failure = None
    assert await scene.get() == 200, "that is not remembered"
