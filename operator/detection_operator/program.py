"""Assembles the operator and runs it: the server, then the first lists, workers, watches."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field

from detection_operator import handlers
from detection_operator.assembly import (
    Base,
    Planning,
    build_base,
    build_planning,
    build_resync,
    build_watch_monitor,
)
from detection_operator.cluster.observe.resync import Resync
from detection_operator.cluster.observe.watches import WatchMonitor, open_watch_session
from detection_operator.errors import (
    ClusterError,
    OperatorError,
)
from detection_operator.lifecycle import (
    end,
    explain_start,
    handle_signals,
    outline_start,
    unless,
)
from detection_operator.server.health import HealthEndpoints, LoopLag, Startup
from detection_operator.server.lookups import LookUps
from detection_operator.server.metrics_access import MetricsAccess
from detection_operator.server.ports import Ports, open_ports
from detection_operator.server.progress import ProgressEndpoint, new_tokens_rate
from detection_operator.server.rate import RateLimit
from detection_operator.server.report_access import ReportAccess
from detection_operator.server.tokens import TokenVerifier
from detection_operator.settings import Settings
from detection_trainer.contract.runtime import REPORT_AUDIENCE

logger = logging.getLogger(__name__)

START_RETRY_S = 2.0
TLS_CLOSE_S = 0.25


class EndedError(OperatorError):
    """A part of the operator that must not end has ended: the process must restart."""


@dataclass(slots=True)
class Operator:
    """The connected parts; `run` lasts as long as the process."""

    base: Base
    planning: Planning
    resync: Resync
    watches: WatchMonitor
    lag: LoopLag = field(default_factory=LoopLag)
    startup: Startup = field(default_factory=Startup)
    on_listening: Callable[[Ports], None] = lambda _ports: None
    """Receives the ports once they are open; they differ from the settings if those have 0."""

    @classmethod
    async def assemble(
        cls, settings: Settings, environment: Mapping[str, str] = os.environ
    ) -> "Operator":
        """Connect the parts without any request. `environment` defines how to reach the API.

        Raises:
            ConfigurationError: there are no credentials for the API.
        """
        base = await build_base(settings, environment)
        planning = build_planning(base)
        resync = build_resync(base, planning.reports)
        watches = build_watch_monitor(base, resync)
        operator = cls(base, planning, resync, watches)
        operator._measure()
        return operator

    def _measure(self) -> None:
        measure = self.base.metrics.measure
        queue, election = self.base.queue, self.base.election
        measure("leader", "Whether this replica plans: 1 or 0", lambda: float(self.base.is_leading))
        measure(
            "leader_transitions",
            "How often the lease has changed hands",
            lambda: float(election.transitions if election else 0),
        )
        # 0 on a standby: it plans nothing, so its queue delays no training.
        measure(
            "queue_depth",
            "Trainings that wait to be reconciled",
            lambda: float(queue.depth() if self.base.is_leading else 0),
        )
        measure(
            "queue_oldest_age_seconds",
            "How long the training that waits longest has waited",
            lambda: queue.oldest_age_s() if self.base.is_leading else 0.0,
        )
        held = self.base.cache.quarantine
        measure("quarantined_objects", "Objects that cannot be read", lambda: float(len(held)))
        if (certificate := self.base.certificate) is not None:
            measure(
                "serving_certificate_expiry_timestamp_seconds",
                "When the certificate ends that reports are served with",
                lambda: certificate.expires_at,
            )
        measure(
            "unavailable_namespaces",
            "Watched namespaces that cannot be listed",
            lambda: float(len(self.resync.places.unavailable)),
        )
        measure("event_loop_lag_seconds", "How late the event loop is", lambda: self.lag.worst_s)
        measure(
            "watch_problems",
            "Watches that fail or have yet to begin",
            lambda: float(len(self.watches.problems(0))),
        )

    def _problems(self, tolerated_s: float) -> list[str]:
        obstacle = self.base.election.obstacle if self.base.election else ""
        return [*self.watches.obstacles(tolerated_s), *([obstacle] if obstacle else [])]

    async def _open_ports(self) -> Ports:
        settings = self.base.settings
        progress = ProgressEndpoint(
            access=ReportAccess(self.base.client, self.base.cache, self.base.writer, LookUps()),
            verifier=TokenVerifier(self.base.client.get_path, REPORT_AUDIENCE),
            reports=self.planning.reports,
            telemetry=self.base.metrics,
            rate=RateLimit(),
            last_report_rate=RateLimit(),
            new_tokens=new_tokens_rate(limits_addresses=bool(settings.report_connections_per_peer)),
        )
        health = HealthEndpoints(
            lag=self.lag,
            startup=self.startup,
            resync_tried_at=lambda: self.resync.tried_at,
            resync_interval_s=settings.resync_s,
            problems=self._problems,
        )
        guarded = settings.metrics_authentication
        ports = await open_ports(
            settings,
            self.base.certificate,
            reports=progress.routes(),
            health=health.routes(),
            metrics=self.base.metrics.routes(
                MetricsAccess(self.base.client).guard if guarded else None
            ),
        )
        self.base.metrics.measure(
            "connections_refused", "Connections that found no place", lambda: float(ports.refused())
        )
        return ports

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, then end in order: what waits is written first.

        Raises:
            EndedError: a watch ended for good; a restart loses nothing.
            ConfigurationError: the mounted files are not a serving certificate.
            OSError: a port is taken.
        """
        ports = await self._open_ports()
        self.on_listening(ports)
        tasks = [asyncio.create_task(self.lag.run(), name="event loop lag")]
        leading: list[asyncio.Task[None]] = []
        watching = self._build_watching()
        try:
            if await unless(stop, self._retry_start(self._prepare)):
                if (certificate := self.base.certificate) is not None:
                    tasks.append(asyncio.create_task(certificate.run(), name="certificate"))
                # When Kopf ends, it ends every task that started after it: end the operator's tasks
                # before.
                await watching.start()
                handle_signals(stop)
                tasks.append(asyncio.create_task(watching.wait_end(), name="watches"))
                leading.append(asyncio.create_task(self._plan(), name="planning"))
                await self._wait(stop, [*leading, *tasks])
                await self._hand_over(leading)
        finally:
            logger.info("ending")
            await end(leading)
            await ports.close()
            await self.planning.reports.close()
            await end(tasks)
            await watching.stop()
            for part in (self.base.client, self.base.election):
                if part is not None:
                    await part.close()
            # The event loop closes TLS connections in its next round.
            await asyncio.sleep(TLS_CLOSE_S)

    async def _plan(self) -> None:
        """Store everything, then plan while this replica leads."""
        self.startup.waits_for = "the first lists are being read"
        await self.watches.placed.wait()
        await self._retry_start(self.resync.fill)
        self.startup.waits_for = ""
        logger.info("watching %s", ", ".join(self.base.settings.namespaces) or "all namespaces")
        async with asyncio.TaskGroup() as group:
            group.create_task(self.resync.run(), name="resync")
            election = self.base.election
            lead = self._lead() if election is None else election.run(self._lead)
            group.create_task(lead, name="leading")

    async def _lead(self) -> None:
        """Plan until cancelled; all trainings are reconciled again, whatever another leader did."""
        self.base.queue.restart(self.base.cache.training_keys())
        async with asyncio.TaskGroup() as group:
            group.create_task(self.planning.warnings.run(), name="warnings")
            for number in range(self.base.settings.workers):
                group.create_task(self.planning.loop.work(), name=f"worker {number}")

    async def _hand_over(self, leading: list[asyncio.Task[None]]) -> None:
        """Release the Lease; accept reports until the cluster sends them to another replica."""
        self.startup.waits_for = "it is ending"
        await end(leading)
        await asyncio.sleep(self.base.settings.drain_s)

    def _build_watching(self) -> handlers.Watching:
        configuration = self.base.client.configuration
        registry = handlers.build_registry(
            self.base.cache,
            self.base.queue,
            lambda: open_watch_session(configuration, self.watches),
            configuration.host,
        )
        return handlers.Watching(registry, self.base.settings.namespaces)

    async def _retry_start(self, part: Callable[[], Coroutine[None, None, None]]) -> None:
        """Repeat a part of the start until it succeeds; `/readyz` reports what prevents it."""
        logged = ""
        while True:
            try:
                await part()
            except ClusterError as error:
                self.startup.waits_for = outline_start(error)
                if logged != explain_start(error):
                    logged = explain_start(error)
                    logger.warning("not ready: %s", logged)
                await asyncio.sleep(START_RETRY_S)
            else:
                return

    async def _prepare(self) -> None:
        """Check that the cluster allows the operator to run, and get a serving certificate."""
        if self.base.certificate is not None:
            await self.base.certificate.refresh()
        await self.resync.probe()

    async def _wait(self, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if stopping in done:
            return
        ended = done.pop()
        error = None if ended.cancelled() else ended.exception()
        msg = f"{ended.get_name()} ended: {error!r}; starting again loses nothing"
        raise EndedError(msg) from error


async def run(settings: Settings) -> None:
    """Run the operator as a process.

    Raises:
        ConfigurationError: the settings or the cluster do not allow it to run.
        EndedError: the process must restart.
    """
    stop = asyncio.Event()
    handle_signals(stop)
    operator = await Operator.assemble(settings)
    await operator.run(stop)
