"""The ports: each purpose on its own, within the file descriptors that there are."""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from detection_operator.server import ports as module
from detection_operator.server.ports import RESERVED_DESCRIPTORS, Ports, affordable, open_ports
from detection_operator.server.serving import OwnProcess, ServingCertificate
from detection_operator.settings import Settings


def settings(**more: Any) -> Settings:
    fields: dict[str, Any] = {
        "trainer_image": "trainer:1",
        "report_url": "https://127.0.0.1",
        "listen_host": "127.0.0.1",
        "reports_port": 0,
        "health_port": 0,
        "metrics_port": 0,
        "plain_port": 0,
    }
    return Settings(**fields | more)


async def ok(request: web.Request) -> web.Response:
    return web.Response(text=request.path)


async def opened(certificate: ServingCertificate | None, **more: Any) -> Ports:
    return await open_ports(
        settings(**more),
        certificate,
        reports=[web.get("/reports", ok)],
        health=[web.get("/healthz", ok)],
        metrics=[web.get("/metrics", ok)],
    )


@pytest.fixture
async def certificate() -> ServingCertificate:
    made = ServingCertificate(OwnProcess(("127.0.0.1",)))
    await made.refresh()
    return made


async def get(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as answer:
        return answer.status


async def test_each_port_serves_one_purpose(certificate: ServingCertificate) -> None:
    ports = await opened(certificate)
    for site, path, scheme in (
        (ports.reports, "reports", "https"),
        (ports.health, "healthz", "http"),
        (ports.metrics, "metrics", "https"),
    ):
        for asked in ("reports", "healthz", "metrics"):
            status = await get(f"{scheme}://127.0.0.1:{site.port}/{asked}")
            assert status == (200 if asked == path else 404)
    assert ports.plain is None
    await ports.close()


async def test_plain_reports_have_a_port_of_their_own(certificate: ServingCertificate) -> None:
    ports = await opened(certificate, plain_report_url="http://127.0.0.1")
    assert ports.plain is not None
    assert await get(f"http://127.0.0.1:{ports.plain.port}/reports") == 200
    await ports.close()


async def test_metrics_without_authentication_are_plain(certificate: ServingCertificate) -> None:
    ports = await opened(certificate, metrics_authentication=False)
    assert await get(f"http://127.0.0.1:{ports.metrics.port}/metrics") == 200
    await ports.close()


async def test_a_flood_on_the_reports_port_leaves_the_probes_alone() -> None:
    ports = await opened(None, report_connections=8, report_connections_per_peer=0)
    writers = []
    for _ in range(200):
        _, writer = await asyncio.open_connection("127.0.0.1", ports.reports.port)
        writer.write(b"POST /reports HTTP/1.1\r\n")
        writers.append(writer)
    for _ in range(20):
        assert await get(f"http://127.0.0.1:{ports.health.port}/healthz") == 200
    assert ports.refused() == 192
    assert len(ports.reports.seats) == 8
    for writer in writers:
        writer.transport.abort()
    await ports.close()


async def test_when_a_port_is_in_use_none_stays_open(certificate: ServingCertificate) -> None:
    ports = await opened(certificate)
    free = ports.health.port
    taken = ports.reports.port
    await ports.health.close()
    with pytest.raises(OSError, match="in use"):
        await opened(certificate, health_port=free, reports_port=taken)
    again = await opened(certificate, health_port=free)
    await again.close()
    await ports.close()


@pytest.mark.parametrize(
    ("wanted", "descriptors", "most"),
    [(256, 1024, 256), (4096, 1024, (1024 - RESERVED_DESCRIPTORS) // 2), (256, 100, 16)],
)
def test_connections_leave_descriptors_for_the_api(
    wanted: int, descriptors: int, most: int
) -> None:
    assert affordable(wanted, descriptors) == most


async def test_the_limit_of_this_process_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "descriptor_limit", lambda: RESERVED_DESCRIPTORS + 64)
    ports = await opened(None, report_connections=4096)
    assert ports.reports.limits.connections == 32
    await ports.close()
