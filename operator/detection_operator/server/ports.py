"""The operator's ports: reports, health and metrics are separate, so that none starves another."""

import asyncio
import logging
import resource
from collections.abc import Iterable
from dataclasses import dataclass, replace

from aiohttp import web

from detection_operator.server.serving import ServingCertificate
from detection_operator.server.site import Limits, Site, open_site
from detection_operator.settings import Settings

logger = logging.getLogger(__name__)

RESERVED_DESCRIPTORS = 400
"""File descriptors for connections to the API (two pools), watches, the other ports and files."""
HEALTH = Limits(connections=64)
METRICS = Limits(connections=32, per_peer=8)
Routes = Iterable[web.RouteDef]


@dataclass(slots=True)
class Ports:
    """The open ports; each has its own connections."""

    health: Site
    metrics: Site
    reports: Site
    plain: Site | None = None
    """Reports over plain HTTP, for trainers of releases that do not support TLS here."""

    async def close(self) -> None:
        """Close all; requests in progress end first."""
        await asyncio.gather(*(site.close() for site in self._sites()))

    def refused(self) -> int:
        """Return how many connections were refused for lack of room."""
        return sum(site.refused for site in self._sites())

    def _sites(self) -> list[Site]:
        sites = (self.reports, self.plain, self.metrics, self.health)
        return [site for site in sites if site is not None]


async def open_ports(
    settings: Settings,
    certificate: ServingCertificate | None,
    *,
    reports: Routes,
    health: Routes,
    metrics: Routes,
) -> Ports:
    """Open the ports of `settings`; with a certificate, reports and guarded metrics are HTTPS.

    Raises:
        OSError: a port is taken.
    """
    reports, host = list(reports), settings.listen_host
    limits = _report_limits(settings)
    tls = certificate.context if certificate else None
    guarded = tls if settings.metrics_authentication else None
    opened: list[Site] = []
    try:
        for routes, port, limit, context in (
            (health, settings.health_port, HEALTH, None),
            (metrics, settings.metrics_port, METRICS, guarded),
            (reports, settings.reports_port, limits, tls),
        ):
            opened.append(await open_site(routes, host, port, limits=limit, tls=context))
        if settings.plain_report_url:
            opened.append(await open_site(reports, host, settings.plain_port, limits=limits))
    except OSError:
        for site in opened:
            await site.close()
        raise
    return Ports(*opened)


def _report_limits(settings: Settings) -> Limits:
    wanted = Limits(
        connections=settings.report_connections, per_peer=settings.report_connections_per_peer
    )
    return replace(wanted, connections=affordable(wanted.connections, descriptor_limit()))


def descriptor_limit() -> int:
    """Return the number of file descriptors that this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def affordable(wanted: int, descriptors: int) -> int:
    """Return how many connections each of two ports may have with `descriptors` in total."""
    most = max((descriptors - RESERVED_DESCRIPTORS) // 2, 16)
    if wanted > most:
        logger.warning(
            "of %d connections for reports, the limit of file descriptors (%d) leaves %d",
            wanted,
            descriptors,
            most,
        )
    return min(wanted, most)
