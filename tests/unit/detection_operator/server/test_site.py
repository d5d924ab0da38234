"""A port that floods and slow senders cannot exhaust; on real sockets of the loopback interface."""

import asyncio
import gc
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from detection_operator.server import leftovers
from detection_operator.server.site import Limits, Site, open_site

HEAD = b"GET /ok HTTP/1.1\r\nHost: operator\r\n"
CLIENTS: list[asyncio.StreamWriter] = []
Open = Callable[..., Any]


async def ok(_: web.Request) -> web.Response:
    return web.Response(text="ok")


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    sites: list[Site] = []

    async def make(**limits: Any) -> Site:
        routes = [web.get("/ok", ok), web.post("/ok", ok)]
        sites.append(await open_site(routes, "127.0.0.1", 0, limits=Limits(**limits)))
        return sites[-1]

    yield make
    for writer in CLIENTS:
        writer.transport.abort()
    CLIENTS.clear()
    for site in sites:
        await site.close()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not become so in 10 s")


async def connect(site: Site, source: str = "127.0.0.1") -> Any:
    made = await asyncio.open_connection("127.0.0.1", site.port, local_addr=(source, 0))
    CLIENTS.append(made[1])
    return made


async def ask(site: Site, source: str = "127.0.0.1") -> bytes:
    """Return the first line of the answer to one request; nothing where there is none."""
    reader, writer = await connect(site, source)
    try:
        writer.write(HEAD + b"Connection: close\r\n\r\n")
        return bytes(await reader.readline())
    except ConnectionError:
        return b""


async def ends(reader: asyncio.StreamReader) -> bool:
    """Return whether the other side closes the connection."""
    try:
        async with asyncio.timeout(5):
            await reader.read()
    except ConnectionError:
        return True
    except TimeoutError:
        return False
    return True


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_a_head_that_never_ends_is_not_waited_for(opened: Open) -> None:
    site = await opened(idle_s=0.2)
    reader, writer = await connect(site)
    writer.write(HEAD)
    assert await ends(reader)
    assert len(site.seats) == 0


async def test_a_head_that_arrives_byte_by_byte_gets_no_extra_time(opened: Open) -> None:
    site = await opened(idle_s=0.2)
    reader, writer = await connect(site)

    async def drip() -> None:
        while True:
            writer.write(b"X")
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    assert await ends(reader)
    dripping.cancel()


async def test_a_connection_without_a_request_is_closed(opened: Open) -> None:
    site = await opened(idle_s=0.2)
    reader, _ = await connect(site)
    assert await ends(reader)


async def test_half_open_connections_use_bounded_descriptors_and_block_no_other_client(
    opened: Open,
) -> None:
    site = await opened(connections=32)
    before = descriptors()
    held = [await connect(site) for _ in range(400)]
    for _, writer in held:
        writer.write(HEAD)
    await until(lambda: len(site.seats) == 32 and site.refused == 368)
    ours = 400
    assert descriptors() - before - ours <= 33
    assert await ask(site, "127.0.0.9") == b"HTTP/1.1 200 OK\r\n", "of another address"


async def test_connections_that_are_evicted_at_once_are_closed(opened: Open) -> None:
    site = await opened(connections=4)
    held = [await connect(site, f"127.0.0.{2 + number % 2}") for number in range(64)]
    await until(lambda: site.refused == 60)
    ending = [asyncio.create_task(ends(reader)) for reader, _ in held]
    await until(lambda: sum(task.done() for task in ending) == 60)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


async def test_one_address_has_its_own_limit(opened: Open) -> None:
    site = await opened(connections=100, per_peer=4)
    _ = [await connect(site) for _ in range(40)]
    await until(lambda: site.refused == 36)
    assert len(site.seats) == 4
    assert await ask(site, "127.0.0.9") == b"HTTP/1.1 200 OK\r\n"


async def test_one_address_opens_few_connections_a_second(opened: Open) -> None:
    site = await opened(connections=100, per_peer=4)
    answers = [await ask(site) for _ in range(30)]
    assert answers.count(b"HTTP/1.1 200 OK\r\n") < 20
    assert site.refused > 10


LARGE = {
    "a header field": HEAD + b"X: " + b"x" * 960_000,
    "many fields": HEAD + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 900) for n in range(1000)),
    "a request line": b"GET /" + b"x" * 960_000,
}


@pytest.mark.parametrize("text", LARGE.values(), ids=LARGE)
async def test_a_large_head_is_refused_before_it_is_all_there(opened: Open, text: bytes) -> None:
    site = await opened()
    reader, writer = await connect(site)
    writer.write(text)
    try:
        assert (await reader.readline()).startswith(b"HTTP/1.0 400")
        assert await ends(reader)
    except ConnectionError:
        pass
    await until(lambda: len(site.seats) == 0)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def handlers() -> list[object]:
    """Return aiohttp's side of all connections that are in memory."""
    return [thing for thing in gc.get_objects() if type(thing) is web.RequestHandler]


@pytest.mark.usefixtures("no_collector")
async def test_a_bad_head_leaves_nothing_for_the_garbage_collector(opened: Open) -> None:
    site, before = await opened(), len(handlers())
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 7500) for number in range(128))
    for _ in range(5):
        reader, writer = await connect(site)
        writer.write(HEAD + fields)
        assert await ends(reader)
    await until(lambda: len(site.seats) == 0)
    del reader, writer
    assert len(handlers()) - before <= 1


async def test_what_closed_connections_leave_behind_is_collected_by_their_bytes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, collections = await opened(), list[int]()
    monkeypatch.setattr(leftovers, "LIMIT_BYTES", 3 * 200_000)
    site.leftovers = leftovers.Leftovers(lambda: collections.append(len(site.seats)))
    for _ in range(3):
        _, writer = await connect(site)
        writer.write(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n")
        writer.write(b"x" * 200_000)
        await writer.drain()
        writer.close()
        await until(lambda: len(site.seats) == 0)
    assert len(collections) == 1


async def test_handshakes_that_fail_are_collected_too(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    site, collections = await opened(), list[int]()
    monkeypatch.setattr(leftovers, "LIMIT_BYTES", 3 * 256 * 1024)
    site.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    site.leftovers = leftovers.Leftovers(lambda: collections.append(len(site.seats)))
    for _ in range(3):
        _, writer = await connect(site)
        writer.close()
        await until(lambda: len(site.seats) == 0)
    assert len(collections) == 1


async def test_an_unread_body_is_not_kept(opened: Open) -> None:
    site = await opened(lingering_s=0.1)
    reader, writer = await connect(site)
    writer.write(b"POST /ok HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n")
    writer.write(b"x" * 50_000)
    assert await ends(reader)


async def test_a_compressed_body_stays_compressed(opened: Open) -> None:
    site = await opened()
    headers = {"Content-Encoding": "gzip"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{site.port}/ok", data=b"no gzip", headers=headers
        ) as answer,
    ):
        assert answer.status == 200


async def test_connections_are_kept_until_it_is_crowded(opened: Open) -> None:
    site = await opened(connections=4)
    url = f"http://127.0.0.1:{site.port}/ok"
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(url) as answer:
                assert "Connection" not in answer.headers
        assert len(site.seats) == 1
        _ = [await connect(site) for _ in range(3)]
        await until(lambda: len(site.seats) == 4)
        async with session.get(url) as answer:
            assert answer.headers["Connection"] == "close"


async def test_a_closed_site_has_no_connections_and_no_port(opened: Open) -> None:
    site = await opened()
    reader, _ = await connect(site)
    await until(lambda: len(site.seats) == 1)
    port = site.port
    await site.close()
    assert await ends(reader)
    assert len(site.seats) == 0
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_port_in_use_is_an_error(opened: Open) -> None:
    site = await opened()
    with pytest.raises(OSError, match="in use"):
        await open_site([], "127.0.0.1", site.port)
