"""The Kubernetes client of tests and sandbox, against a small HTTP server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client.configuration import Configuration

from benchmarks.operator.sightings import sightings
from detection_operator.names import LABEL_TRAINING
from sandbox.site import kube as module
from sandbox.site.kube import ApiError, AsyncKube, Kube, Object, WaitTimeoutError, phase

T = TypeVar("T")
PODS = "/api/v1/pods"


def event(name: str, phase: str = "Running", kind: str = "MODIFIED") -> Object:
    return {"type": kind, "object": {"metadata": {"name": name}, "status": {"phase": phase}}}


def line(document: Object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


ERROR = line({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
ANSWERS = [
    line(event("a")),
    line(event("a")) + ERROR,
    line(event("a")) + line(event("b", "Pending")) + line(event("c")),
]


Answers = Iterator[web.Response | bytes]


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)


@asynccontextmanager
async def serving(answers: Answers, seen: list[web.Request] | None = None) -> AsyncIterator[str]:
    """Serve these answers; bytes are the start of a response that is cut off."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if seen is not None:
            seen.append(request)
        following = next(answers)
        if isinstance(following, web.Response):
            return following
        cut = web.StreamResponse(headers={"Content-Length": "100000"})
        await cut.prepare(request)
        await cut.write(following)
        assert request.transport is not None
        request.transport.close()
        return cut

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def connected(
    answers: Answers, seen: list[web.Request] | None = None
) -> AsyncIterator[AsyncKube]:
    """Connect to a server that gives these answers."""
    async with serving(answers, seen) as url, aiohttp.ClientSession() as session:
        yield AsyncKube(session, Configuration(host=url))


@pytest.fixture
async def client() -> AsyncIterator[AsyncKube]:
    """Connect to a server that ends each watch: the second with an error."""
    bodies = chain(ANSWERS, repeat(ANSWERS[-1]))
    async with connected(web.Response(body=body) for body in bodies) as made:
        yield made


async def names(client: AsyncKube, count: int, containing: bytes = b"") -> list[str]:
    found: list[str] = []
    async for seen in client.watch(PODS, containing=containing):
        found.append(seen["object"]["metadata"]["name"])
        if len(found) == count:
            return found
    raise AssertionError("the watch ended")


async def test_a_watch_that_the_server_ends_is_restarted(client: AsyncKube) -> None:
    assert await names(client, 8) == ["a", "a", "a", "b", "c", "a", "b", "c"]


async def test_events_without_the_wanted_text_are_skipped(client: AsyncKube) -> None:
    assert await names(client, 5, b'"phase":"Running"') == ["a", "a", "a", "c", "a"]


async def test_a_watch_that_is_cut_off_is_restarted() -> None:
    async with connected(iter([ANSWERS[0], web.Response(body=ANSWERS[2])])) as client:
        assert await names(client, 4) == ["a", "a", "b", "c"]


LIST = {"metadata": {"resourceVersion": "77"}, "items": [{}]}


async def test_an_object_that_exists_already_is_no_sighting() -> None:
    seen: list[web.Request] = []
    labelled = {"metadata": {"labels": {LABEL_TRAINING: "trees"}}}
    later = line({"type": "ADDED", "object": labelled})
    answers: Answers = iter([web.json_response(LIST), later, web.Response(body=later)])
    async with connected(answers, seen) as client, sightings(client, PODS) as sighted:
        await sighted.wait(["trees"], 5)
    assert queries(seen)[:2] == [{"limit": "1"}, {"watch": "1", "resourceVersion": "77"}]


def queries(requests: list[web.Request]) -> list[Mapping[str, str]]:
    return [dict(request.query) for request in requests]


async def test_a_restarted_watch_begins_with_the_present_state() -> None:
    seen: list[web.Request] = []
    async with connected(iter([ANSWERS[0], web.Response(body=ANSWERS[2])]), seen) as client:
        async for _ in client.watch(PODS, since="77"):
            if len(seen) > 1:
                break
    assert [query["resourceVersion"] for query in queries(seen)] == ["77", "0"]


@pytest.mark.parametrize("status", [429, 504])
async def test_a_request_to_a_busy_server_is_retried(status: int) -> None:
    busy = web.Response(status=status, text="{}")
    async with connected(iter([busy, web.Response(body=ANSWERS[0])])) as client:
        assert await names(client, 1) == ["a"]
    busy = web.Response(status=status, text="{}")
    async with connected(iter([busy, web.json_response({"items": []})])) as client:
        assert await client.get(PODS) == {"items": []}


async def test_a_refusal_is_reported() -> None:
    async with connected(
        iter([web.Response(status=403, text="no"), web.Response(status=403)])
    ) as client:
        with pytest.raises(ApiError, match="403"):
            await names(client, 1)
        with pytest.raises(ApiError, match="403"):
            await client.get(PODS)


async def test_a_wait_for_sightings_fails_when_the_watch_is_refused() -> None:
    refusal = iter([web.json_response(LIST), web.Response(status=403, text="no")])
    async with connected(refusal) as client, sightings(client, PODS) as sighted:
        with pytest.raises(ApiError, match="403"):
            await sighted.wait(["trees"], 5)


async def synchronously(
    use: Callable[[Kube], T],
    answers: Answers,
    folder: Path,
    *,
    token: str | None = None,
    seen: list[web.Request] | None = None,
) -> T:
    """Use the synchronous face in another thread, as the user of a kubeconfig."""
    kubeconfig = folder / "kubeconfig"

    def connect_and_use() -> T:
        with Kube.connect(kubeconfig, token=token) as kube:
            return use(kube)

    async with serving(answers, seen) as url:
        document = {
            "current-context": "a",
            "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
            "clusters": [{"name": "a", "cluster": {"server": url}}],
            "users": [{"name": "a", "user": {"token": "mine"}}],
        }
        kubeconfig.write_text(yaml.safe_dump(document))
        return await asyncio.to_thread(connect_and_use)


@pytest.mark.parametrize(
    ("token", "sent"),
    [(None, "Bearer mine"), ("another", "Bearer another")],
    ids=["the kubeconfig's", "a given one"],
)
async def test_the_token_is_sent(tmp_path: Path, token: str | None, sent: str) -> None:
    seen: list[web.Request] = []
    answers: Answers = iter([web.json_response({"items": [{}]})])
    items = await synchronously(
        lambda kube: kube.items(PODS), answers, tmp_path, token=token, seen=seen
    )
    assert items == [{}]
    assert [request.headers["Authorization"] for request in seen] == [sent]


REFUSALS = {
    "a Status": (web.json_response({"message": "forbidden: pods"}, status=403), "forbidden: pods"),
    "a text": (web.Response(text="no", status=403), "no"),
    "a document that is no Status": (web.json_response(["no"], status=403), '["no"]'),
}


@pytest.mark.parametrize(("refusal", "message"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_an_error_has_the_message_of(
    tmp_path: Path, refusal: web.Response, message: str
) -> None:
    with pytest.raises(ApiError) as caught:
        await synchronously(lambda kube: kube.get(PODS), iter([refusal]), tmp_path)
    assert (caught.value.status, caught.value.message) == (403, message)


async def test_an_absent_object_is_not_found_and_needs_no_deletion(tmp_path: Path) -> None:
    def use(kube: Kube) -> Object | None:
        kube.delete(f"{PODS}/a")
        return kube.find(f"{PODS}/a")

    absent: Answers = (web.json_response({}, status=404) for _ in range(2))
    assert await synchronously(use, absent, tmp_path) is None


def listed(*items: Object) -> web.Response:
    return web.json_response({"metadata": {"resourceVersion": "77"}, "items": list(items)})


async def test_a_wait_follows_the_object_through_restarted_watches(tmp_path: Path) -> None:
    seen: list[web.Request] = []
    answers: Answers = iter([
        listed(),
        line(event("a", "Pending")),
        listed(event("a", "Pending")["object"]),
        web.Response(body=ERROR),
        listed(event("a", "Pending")["object"]),
        web.Response(body=line(event("a", "Running")) + line(event("a", kind="DELETED"))),
    ])  # fmt: skip
    states: list[str] = []

    def until(found: Object | None) -> bool:
        states.append(phase(found))
        return found is None and len(states) > 1

    def use(kube: Kube) -> Object:
        return kube.wait(f"{PODS}/a", until, what="deleted", timeout_s=20)

    assert await synchronously(use, answers, tmp_path, seen=seen) == {}
    assert states == ["", "Pending", "Pending", "Pending", "Running", ""]
    assert queries(seen)[0] == {"fieldSelector": "metadata.name=a"}
    assert queries(seen)[1]["resourceVersion"] == "77"


async def test_a_condition_of_a_wait_may_send_requests(tmp_path: Path) -> None:
    def use(kube: Kube) -> Object:
        return kube.wait(f"{PODS}/a", lambda _: bool(kube.items(PODS)), what="a pod", timeout_s=20)

    assert await synchronously(use, iter([listed(), listed({})]), tmp_path) == {}


async def test_a_wait_that_times_out_reports_the_last_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: 0.0)
    monkeypatch.setattr(module, "time", clock)

    def until(_: Object | None) -> bool:
        clock.monotonic = lambda: 31.0
        return False

    def use(kube: Kube) -> Object:
        return kube.wait(f"{PODS}/a", until, what="deleted", timeout_s=30)

    with pytest.raises(WaitTimeoutError, match=r'deleted: not within 30 s; .*"phase": "Running"'):
        await synchronously(use, iter([listed(event("a")["object"])]), tmp_path)
