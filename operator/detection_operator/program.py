"""Puts the operator together and runs it: the server, then the first lists, workers, watches."""

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass

from detection_operator import handlers
from detection_operator.cluster.act.apply import Applier
from detection_operator.cluster.act.execute import PlanExecutor
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.client import Client, load_configuration
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.lease import Election
from detection_operator.cluster.decider import Decider
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.lists import WatchedLists
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.resync import Resync
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.cluster.observe.watches import WatchMonitor, open_watch_session
from detection_operator.cluster.reconciler import ReconcileLoop, Reconciler
from detection_operator.cluster.report_queue import Pace, ReportQueue
from detection_operator.cluster.reports import ReportWriter
from detection_operator.cluster.restate import Restater
from detection_operator.core.plan import plan
from detection_operator.core.state import PolicySettings
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
from detection_operator.manifests import Manifests
from detection_operator.server.health import HealthEndpoints, LoopLag, Startup
from detection_operator.server.lookups import LookUps
from detection_operator.server.metrics import Metrics
from detection_operator.server.metrics_access import MetricsAccess
from detection_operator.server.ports import Ports, open_ports
from detection_operator.server.progress import ProgressEndpoint, new_tokens_rate
from detection_operator.server.rate import RateLimit
from detection_operator.server.serving import ServingCertificate, serving_certificate
from detection_operator.server.speakers import Speakers
from detection_operator.server.tokens import TokenVerifier
from detection_operator.settings import Settings
from detection_trainer.contract.runtime import REPORT_AUDIENCE

logger = logging.getLogger(__name__)

START_RETRY_S = 2.0
TLS_CLOSE_S = 0.25


class EndedError(OperatorError):
    """A part of the operator that never ends has ended: the process must start again."""


def policy_settings(settings: Settings) -> PolicySettings:
    """Return the part of the settings that decisions rest on."""
    return PolicySettings(
        default_image=settings.trainer_image,
        report_url=settings.report_url,
        plain_report_url=settings.plain_report_url,
        backoff_base_s=settings.backoff_base_s,
        backoff_cap_s=settings.backoff_cap_s,
        termination_grace_s=settings.termination_grace_s,
        image_pull_timeout_s=settings.image_pull_timeout_s,
        several_workers=settings.several_workers,
    )


@dataclass(slots=True)
class Operator:
    """The parts, connected; `run` is the whole life of the process."""

    settings: Settings
    client: Client
    writer: StatusWriter
    cache: Cache
    queue: KeyQueue
    resync: Resync
    warnings: WarningEvents
    reports: ReportQueue
    loop: ReconcileLoop
    watches: WatchMonitor
    metrics: Metrics
    lag: LoopLag
    startup: Startup
    election: Election | None
    """None: this process always leads."""
    certificate: ServingCertificate | None
    """None: reports come over plain HTTP."""
    on_listening: Callable[[Ports], None] = lambda _ports: None
    """Gets the ports once they are open: of the system's choice where the settings have 0."""

    @classmethod
    async def assemble(
        cls, settings: Settings, environment: Mapping[str, str] = os.environ
    ) -> "Operator":
        """Connect the parts; talks to nobody yet. `environment` says how to reach the API.

        Raises:
            ConfigurationError: there are no credentials for the API.
        """
        queue = KeyQueue()
        cache = Cache(queue.add)
        metrics = Metrics(cache.trainings)
        cache.quarantine.on_held = metrics.quarantined
        configuration = await load_configuration(environment)
        client = Client(configuration, metrics)
        election = None
        if settings.lease_namespace:
            place = settings.lease_namespace, settings.lease_name
            election = Election(Client(configuration, metrics), *place, settings.identity)
        writer, events = StatusWriter(client, cache, queue), EventPoster(client)
        policy, certificate = policy_settings(settings), serving_certificate(settings, client)
        warnings = WarningEvents(client, queue)
        gatherer = Gatherer(client, cache, warnings)

        def leads() -> bool:
            return election is None or election.leading

        decider = Decider(plan, policy)
        restater = Restater(gatherer, decider, leads)
        reports = ReportQueue(
            cache=cache,
            queue=queue,
            writer=ReportWriter(
                cache=cache, writer=writer, events=events, restate=restater.restate
            ),
            pace=Pace(interval_s=settings.status_interval_s),
            leads=leads,
            count=metrics.report_handled,
        )
        resync = Resync(
            lists=WatchedLists(client, settings.namespaces),
            cache=cache,
            queue=queue,
            interval_s=settings.resync_s,
            telemetry=metrics,
            tidy=reports.forget_gone,
        )
        reconciler = Reconciler(
            cache=cache,
            queue=queue,
            gatherer=gatherer,
            decider=decider,
            executor=PlanExecutor(
                writer,
                Applier(
                    client,
                    cache,
                    events,
                    Manifests(policy, certificate.trusted if certificate else str),
                ),
                decider.now,
            ),
            reports=reports,
        )
        watches = WatchMonitor(
            namespaces=settings.namespaces,
            on_relist=resync.ask,
            telemetry=metrics,
        )
        operator = cls(
            settings=settings,
            client=client,
            writer=writer,
            cache=cache,
            queue=queue,
            resync=resync,
            warnings=warnings,
            reports=reports,
            loop=ReconcileLoop(queue, reconciler, metrics, resync.places.may_plan),
            watches=watches,
            metrics=metrics,
            lag=LoopLag(),
            startup=Startup(),
            election=election,
            certificate=certificate,
        )
        operator._measure()
        return operator

    def _measure(self) -> None:
        measure, queue, election = self.metrics.measure, self.queue, self.election
        measure("leader", "Whether this replica plans: 1 or 0", lambda: float(self.is_leading))
        measure(
            "leader_transitions",
            "How often the lease has changed hands",
            lambda: float(election.transitions if election else 0),
        )
        # What a standby's queue holds waits for nobody.
        measure(
            "queue_depth",
            "Trainings that wait to be looked at",
            lambda: float(queue.depth() if self.is_leading else 0),
        )
        measure(
            "queue_oldest_age_seconds",
            "How long the training that waits longest has waited",
            lambda: queue.oldest_age_s() if self.is_leading else 0.0,
        )
        held = self.cache.quarantine
        measure("quarantined_objects", "Objects that cannot be read", lambda: float(len(held)))
        if (certificate := self.certificate) is not None:
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

    @property
    def is_leading(self) -> bool:
        """Whether this process plans."""
        return self.election is None or self.election.leading

    def _problems(self, tolerated_s: float) -> list[str]:
        obstacle = self.election.obstacle if self.election else ""
        return [*self.watches.obstacles(tolerated_s), *([obstacle] if obstacle else [])]

    async def _open_ports(self) -> Ports:
        settings = self.settings
        progress = ProgressEndpoint(
            speakers=Speakers(self.client, self.cache, self.writer, LookUps()),
            verifier=TokenVerifier(self.client.get_path, REPORT_AUDIENCE),
            reports=self.reports,
            telemetry=self.metrics,
            rate=RateLimit(),
            last_words_rate=RateLimit(),
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
            self.certificate,
            reports=progress.routes(),
            health=health.routes(),
            metrics=self.metrics.routes(MetricsAccess(self.client).guard if guarded else None),
        )
        self.metrics.measure(
            "connections_refused", "Connections that found no place", lambda: float(ports.refused())
        )
        return ports

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop`, then end in good order: what waits is written first.

        Raises:
            EndedError: a watch ended for good; nothing is lost by starting again.
            ConfigurationError: what is mounted is no serving certificate.
            OSError: a port is taken.
        """
        ports = await self._open_ports()
        self.on_listening(ports)
        tasks = [asyncio.create_task(self.lag.run(), name="event loop lag")]
        leading: list[asyncio.Task[None]] = []
        watching = self._build_watching()
        try:
            if await unless(stop, self._retry_start(self._prepare)):
                if self.certificate is not None:
                    tasks.append(asyncio.create_task(self.certificate.run(), name="certificate"))
                # Kopf ends every task that is younger than itself when it ends: ours end before.
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
            await self.reports.close()
            await end(tasks)
            await watching.stop()
            for part in (self.client, self.election):
                if part is not None:
                    await part.close()
            # TLS connections are closed by the loop once it comes around.
            await asyncio.sleep(TLS_CLOSE_S)

    async def _plan(self) -> None:
        """Take in everything, then plan while this replica leads."""
        self.startup.waits_for = "the first lists are being read"
        await self.watches.placed.wait()
        await self._retry_start(self.resync.fill)
        self.startup.waits_for = ""
        logger.info("watching %s", ", ".join(self.settings.namespaces) or "all namespaces")
        async with asyncio.TaskGroup() as group:
            group.create_task(self.resync.run(), name="resync")
            lead = self._lead() if self.election is None else self.election.run(self._lead)
            group.create_task(lead, name="leading")

    async def _lead(self) -> None:
        """Plan until cancelled; all is looked at anew, whatever another leader left."""
        self.queue.restart(self.cache.training_keys())
        async with asyncio.TaskGroup() as group:
            group.create_task(self.warnings.run(), name="warnings")
            for number in range(self.settings.workers):
                group.create_task(self.loop.work(), name=f"worker {number}")

    async def _hand_over(self, leading: list[asyncio.Task[None]]) -> None:
        """Let another lead; take reports on until the cluster sends them elsewhere."""
        self.startup.waits_for = "it is ending"
        await end(leading)
        await asyncio.sleep(self.settings.drain_s)

    def _build_watching(self) -> handlers.Watching:
        configuration = self.client.configuration
        registry = handlers.build_registry(
            self.cache,
            self.queue,
            lambda: open_watch_session(configuration, self.watches),
            configuration.host,
        )
        return handlers.Watching(registry, self.settings.namespaces)

    async def _retry_start(self, part: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do a part of the start until the cluster lets us; `/readyz` says what keeps it."""
        said = ""
        while True:
            try:
                await part()
            except ClusterError as error:
                self.startup.waits_for = outline_start(error)
                if said != explain_start(error):
                    said = explain_start(error)
                    logger.warning("not ready: %s", said)
                await asyncio.sleep(START_RETRY_S)
            else:
                return

    async def _prepare(self) -> None:
        """Find out whether the cluster lets us, and get a certificate to serve with."""
        if self.certificate is not None:
            await self.certificate.refresh()
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
        ConfigurationError: it cannot run as it is set up.
        EndedError: it must be started again.
    """
    stop = asyncio.Event()
    handle_signals(stop)
    operator = await Operator.assemble(settings)
    await operator.run(stop)
