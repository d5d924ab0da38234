"""What is seen of Kopf's watches through their HTTP session."""

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientConnectionError, web
from kopf._cogs.clients.api import iter_jsonlines
from kubernetes.aio.client.configuration import Configuration

from detection_operator.cluster.api.decode import CUT
from detection_operator.cluster.observe.watches import NOTHING, WatchMonitor, open_watch_session
from tests.support.operator.hostile import api_bytes
from tests.support.operator.telemetry import Silence

JOBS = "/apis/batch/v1/jobs"
PODS = "/api/v1/pods"
TRAININGS = "/apis/detectiontraining.dev/v1alpha1/detectiontrainings"


class Counted(Silence):
    def __init__(self) -> None:
        self.watches: list[tuple[str, int]] = []

    def watch_answered(self, plural: str, code: int) -> None:
        self.watches.append((plural, code))


class Scene:
    def __init__(self, *namespaces: str) -> None:
        self.now = 100.0
        self.relists = 0
        self.counted = Counted()
        self.monitor = WatchMonitor(
            namespaces=namespaces,
            on_relist=self._relist,
            telemetry=self.counted,
            clock=lambda: self.now,
        )

    def _relist(self) -> None:
        self.relists += 1

    def begin(self) -> None:
        for path in (JOBS, PODS, TRAININGS):
            self.monitor.answered(path, watch=False, code=200)
            self.monitor.answered(path, watch=True, code=200)


def test_it_is_not_ready_before_each_watch_has_begun() -> None:
    scene = Scene()
    assert scene.monitor.problems(60) == ["0 of 3 watches have begun"]
    scene.begin()
    assert scene.monitor.problems(60) == []
    assert scene.counted.watches == [("jobs", 200), ("pods", 200), ("detectiontrainings", 200)]


def test_discovery_is_no_watch() -> None:
    scene = Scene()
    scene.monitor.answered("/apis/batch/v1", watch=False, code=500)
    assert scene.monitor.problems(0) == ["0 of 3 watches have begun"]


def test_a_lasting_failure_is_a_problem_with_its_cause() -> None:
    scene = Scene()
    scene.begin()
    scene.monitor.answered(JOBS, watch=True, code=403)
    scene.now += 59
    scene.monitor.answered(JOBS, watch=True, code=403)
    assert scene.monitor.problems(60) == []
    scene.now += 1
    expected = "jobs cannot be watched: 403 Forbidden"
    assert scene.monitor.problems(60) == [expected]
    scene.monitor.answered(JOBS, watch=True, code=200)
    assert scene.monitor.problems(0) == []


def test_an_unknown_code_and_no_answer_are_named_too() -> None:
    scene = Scene()
    scene.begin()
    scene.monitor.answered(JOBS, watch=True, code=599)
    scene.monitor.answered(PODS, watch=False, code=0, problem="connection refused")
    assert [text.split(": ")[1] for text in scene.monitor.problems(0)] == [
        "599 unknown",
        "connection refused",
    ]


def test_a_list_after_a_watch_requests_a_comparison() -> None:
    scene = Scene()
    scene.begin()
    assert scene.relists == 0
    scene.monitor.answered(PODS, watch=False, code=200)
    assert scene.relists == 1


def test_it_is_reported_once_each_watch_has_its_starting_version() -> None:
    scene = Scene()
    scene.monitor.answered(JOBS, watch=False, code=200)
    scene.monitor.answered(JOBS, watch=False, code=200)
    scene.monitor.answered(PODS, watch=False, code=200)
    scene.monitor.answered(TRAININGS, watch=False, code=500)
    assert not scene.monitor.placed.is_set()
    scene.monitor.answered(TRAININGS, watch=False, code=200)
    assert scene.monitor.placed.is_set()


def test_a_namespace_that_cannot_be_watched_prevents_neither_start_nor_readiness() -> None:
    scene = Scene("team-a", "team-b")
    for path in (JOBS, PODS, TRAININGS):
        scene.monitor.answered(within("team-b", path), watch=False, code=403)
    assert not scene.monitor.placed.is_set()
    for path in (JOBS, PODS, TRAININGS):
        scene.monitor.answered(within("team-a", path), watch=False, code=200)
        assert scene.monitor.obstacles(0) == scene.monitor.problems(0)
        scene.monitor.answered(within("team-a", path), watch=True, code=200)
    assert scene.monitor.placed.is_set()
    assert scene.monitor.obstacles(0) == []
    assert len(scene.monitor.problems(0)) == 4, "three watches fail, and not all have begun"


def test_a_watch_that_starts_after_the_first_lists_requests_a_comparison() -> None:
    scene = Scene("team-a", "team-b")
    for path in (JOBS, PODS, TRAININGS):
        scene.monitor.answered(within("team-b", path), watch=False, code=403)
        scene.monitor.answered(within("team-a", path), watch=False, code=200)
    assert scene.relists == 0
    scene.monitor.answered(within("team-b", JOBS), watch=False, code=200)
    assert scene.relists == 1


def test_where_every_namespace_fails_it_is_not_ready() -> None:
    scene = Scene("team-a", "team-b")
    for namespace in ("team-a", "team-b"):
        for path in (JOBS, PODS, TRAININGS):
            scene.monitor.answered(within(namespace, path), watch=False, code=200)
            scene.monitor.answered(within(namespace, path), watch=True, code=200)
    scene.monitor.answered(within("team-a", JOBS), watch=True, code=403)
    assert scene.monitor.obstacles(0) == []
    scene.monitor.answered(within("team-b", PODS), watch=True, code=403)
    assert scene.monitor.obstacles(0) == [
        "jobs cannot be watched: 403 Forbidden",
        "pods cannot be watched: 403 Forbidden",
    ]
    assert scene.monitor.obstacles(60) == []


def within(namespace: str, path: str) -> str:
    """Return the path of a collection in one namespace."""
    place, _, plural = path.rpartition("/")
    return f"{place}/namespaces/{namespace}/{plural}"


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.Response:
        selector = request.query.get("fieldSelector")
        name = request.headers.get("Authorization", "nobody")
        return web.Response(text=name, headers={"Selected": selector} if selector else None)

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_the_session_carries_the_newest_token_and_is_seen(address: str) -> None:
    scene, configuration = Scene(), Configuration(host=address)
    async with open_watch_session(configuration, scene.monitor) as session:
        async with session.get(address + JOBS) as answer:
            assert await answer.text() == "nobody"
        configuration.api_key["BearerToken"] = "Bearer newest"
        async with session.get(address + JOBS, params={"watch": "true"}) as answer:
            assert await answer.text() == "Bearer newest"
        assert scene.counted.watches == [("jobs", 200)]
        with pytest.raises(ClientConnectionError):
            await session.get("http://127.0.0.1:1" + PODS)
    assert any("pods cannot be watched" in p for p in scene.monitor.problems(0))


async def test_lists_of_what_is_watched_answer_nothing_and_all_else_is_asked_as_it_is(
    address: str,
) -> None:
    async with open_watch_session(Configuration(host=address), Scene().monitor) as session:
        selected = []
        for path in (JOBS, f"{PODS}?limit=500", f"{JOBS}?watch=true", "/apis/batch/v1"):
            async with session.get(address + path) as answer:
                selected.append(answer.headers.get("Selected"))
    assert selected == [NOTHING, NOTHING, None, None]


LINES = {
    "a deep object": ["@nested 1200"],
    "one between others": ["a", "@nested 3000", "b"],
    "a whole line in each chunk, and half ones": ["x" * 300_000, "@nested 150", "y" * 100],
}


@pytest.mark.parametrize("values", LINES.values(), ids=LINES.keys())
async def test_a_watch_continues_after_an_object_that_kopf_could_not_decode(
    values: list[str],
) -> None:
    sent = [{"type": "ADDED", "object": {"n": n, "a": value}} for n, value in enumerate(values)]

    async def watch(_: web.Request) -> web.Response:
        return web.Response(body=b"".join(api_bytes(line) + b"\n" for line in sent))

    application = web.Application()
    application.router.add_get("/{path:.*}", watch)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with open_watch_session(Configuration(host=host), Scene().monitor) as session:
        answer = await session.get(f"{host}{TRAININGS}?watch=true")
        lines = [json.loads(line) async for line in iter_jsonlines(answer.content, 4096)]
    await runner.cleanup()
    assert [line["object"]["n"] for line in lines] == list(range(len(values)))
    assert [CUT in json.dumps(line) for line in lines] == ["@" in value for value in values]
