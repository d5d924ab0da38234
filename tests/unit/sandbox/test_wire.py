"""A watch of the measuring client: whatever the API server does, it does not end by itself."""

import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sandbox.wire import Object, Wire

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


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    """Connect to a server that ends each watch: the second with an error."""
    left = iter(ANSWERS)

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=next(left, ANSWERS[-1]))

    app = web.Application()
    app.router.add_get(PODS, answer)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        yield Wire(session, str(server.make_url("")).rstrip("/"))


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
