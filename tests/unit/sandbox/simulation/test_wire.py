"""A watch of the measuring client: whatever the API server does, it does not end by itself."""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import chain, repeat

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from benchmarks.operator.sightings import sightings
from detection_operator.names import LABEL_TRAINING
from sandbox.simulation import wire as module
from sandbox.simulation.wire import Object, Wire
from sandbox.site.kube import ApiError

PODS = "/api/v1/pods"


def event(name: str, phase: str = "Running", kind: str = "MODIFIED") -> Object:
    return {"type": kind, "object": {"metadata": {"name": name}, "status": {"phase": phase}}}


def line(told: Object) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode() + b"\n"


ERROR = line({"type": "ERROR", "object": {"kind": "Status", "code": 410}})
ANSWERS = [
    line(event("a")),
    line(event("a")) + ERROR,
    line(event("a")) + line(event("b", "Pending")) + line(event("c")),
]


Answers = Iterator[web.Response | bytes]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.0)


@asynccontextmanager
async def connected(
    answers: Answers, asked: list[Mapping[str, str]] | None = None
) -> AsyncIterator[Wire]:
    """Connect to a server that gives these answers; bytes are the start of one that is cut."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if asked is not None:
            asked.append(dict(request.query))
        told = next(answers)
        if isinstance(told, web.Response):
            return told
        cut = web.StreamResponse(headers={"Content-Length": "100000"})
        await cut.prepare(request)
        await cut.write(told)
        assert request.transport is not None
        request.transport.close()
        return cut

    app = web.Application()
    app.router.add_get(PODS, answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Wire(session, str(server.make_url("")).rstrip("/"))


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """Connect to a server that ends each watch: the second with an error."""
    bodies = chain(ANSWERS, repeat(ANSWERS[-1]))
    async with connected(web.Response(body=body) for body in bodies) as made:
        yield made


async def names(wire: Wire, count: int, containing: bytes = b"") -> list[str]:
    found: list[str] = []
    async for told in wire.watch(PODS, containing=containing):
        found.append(told["object"]["metadata"]["name"])
        if len(found) == count:
            return found
    raise AssertionError("the watch ended")


async def test_a_watch_that_the_server_ends_begins_anew(wire: Wire) -> None:
    assert await names(wire, 8) == ["a", "a", "a", "b", "c", "a", "b", "c"]


async def test_events_without_the_wanted_text_are_passed_over(wire: Wire) -> None:
    assert await names(wire, 5, b'"phase":"Running"') == ["a", "a", "a", "c", "a"]


async def test_a_watch_that_is_cut_off_begins_anew() -> None:
    async with connected(iter([ANSWERS[0], web.Response(body=ANSWERS[2])])) as wire:
        assert await names(wire, 4) == ["a", "a", "b", "c"]


LIST = {"metadata": {"resourceVersion": "77"}, "items": [{}]}


async def test_what_is_there_already_is_no_sighting() -> None:
    asked: list[Mapping[str, str]] = []
    told = {"metadata": {"labels": {LABEL_TRAINING: "trees"}}}
    later = line({"type": "ADDED", "object": told})
    answers: Answers = iter([web.json_response(LIST), later, web.Response(body=later)])
    async with connected(answers, asked) as wire, sightings(wire, PODS) as seen:
        await seen.wait(["trees"], 5)
    assert asked[:2] == [{"limit": "1"}, {"watch": "1", "resourceVersion": "77"}]


async def test_a_watch_that_is_cut_off_tells_the_present_state_anew() -> None:
    asked: list[Mapping[str, str]] = []
    async with connected(iter([ANSWERS[0], web.Response(body=ANSWERS[2])]), asked) as wire:
        async for _ in wire.watch(PODS, since="77"):
            if len(asked) > 1:
                break
    assert [query["resourceVersion"] for query in asked] == ["77", "0"]


@pytest.mark.parametrize("status", [429, 504])
async def test_a_server_that_is_too_busy_is_asked_again(status: int) -> None:
    busy = web.Response(status=status, text="{}")
    async with connected(iter([busy, web.Response(body=ANSWERS[0])])) as wire:
        assert await names(wire, 1) == ["a"]
    busy = web.Response(status=status, text="{}")
    async with connected(iter([busy, web.json_response({"items": []})])) as wire:
        assert await wire.get(PODS) == {"items": []}


async def test_a_server_that_refuses_is_told_of() -> None:
    async with connected(
        iter([web.Response(status=403, text="no"), web.Response(status=403)])
    ) as wire:
        with pytest.raises(ApiError, match="403"):
            await names(wire, 1)
        with pytest.raises(ApiError, match="403"):
            await wire.get(PODS)


async def test_who_waits_for_sightings_hears_that_nothing_is_seen_any_more() -> None:
    refusal = iter([web.json_response(LIST), web.Response(status=403, text="no")])
    async with connected(refusal) as wire, sightings(wire, PODS) as seen:
        with pytest.raises(ApiError, match="403"):
            await seen.wait(["trees"], 5)
