"""Builds the parts of the operator from its settings. `program.py` runs them.

Each builder connects one part to the base, which all parts use. None of them calls the API.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from detection_operator.cluster.act.apply import Applier
from detection_operator.cluster.act.execute import PlanExecutor
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.client import Client, load_configuration
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.lease import Election
from detection_operator.cluster.api.owner import OwnService
from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.decider import Decider
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.lists import WatchedLists
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.resync import Resync
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.cluster.observe.watches import WatchMonitor
from detection_operator.cluster.reconciler import ReconcileLoop, Reconciler
from detection_operator.cluster.report_queue import Pace, ReportQueue
from detection_operator.cluster.reports import ReportWriter
from detection_operator.cluster.restate import Restater
from detection_operator.core.plan import plan
from detection_operator.core.state import PolicySettings
from detection_operator.manifests import Manifests
from detection_operator.server.metrics import Metrics
from detection_operator.server.serving import ServingCertificate, serving_certificate
from detection_operator.settings import Settings


def policy_settings(settings: Settings) -> PolicySettings:
    """Return the settings that decisions depend on."""
    return PolicySettings(
        default_image=settings.trainer_image,
        report_url=settings.report_url,
        plain_report_url=settings.plain_report_url,
        backoff_base_s=settings.backoff_base_s,
        backoff_cap_s=settings.backoff_cap_s,
        termination_grace_s=settings.termination_grace_s,
        image_pull_timeout_s=settings.image_pull_timeout_s,
        several_workers=settings.several_workers,
        pod_defaults=settings.pod_defaults,
    )


@dataclass(frozen=True, slots=True)
class Base:
    """What several parts use: access to the API, the state in memory, and the election."""

    settings: Settings
    metrics: Metrics
    cache: Cache
    queue: KeyQueue
    client: Client
    lists: WatchedLists
    writer: StatusWriter
    events: EventPoster
    election: Election | None
    """None: this process always leads."""
    certificate: ServingCertificate | None
    """None: reports arrive over plain HTTP."""

    @property
    def is_leading(self) -> bool:
        """Whether this process plans."""
        return self.election is None or self.election.leading


@dataclass(frozen=True, slots=True)
class Planning:
    """What decides and acts, both for reports and for changes in the cluster."""

    warnings: WarningEvents
    reports: ReportQueue
    loop: ReconcileLoop


async def build_base(settings: Settings, environment: Mapping[str, str]) -> Base:
    """Return the base; `environment` defines how to reach the API.

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
        election = _build_election(settings, Client(configuration, metrics))
    return Base(
        settings=settings,
        metrics=metrics,
        cache=cache,
        queue=queue,
        client=client,
        lists=WatchedLists(client, settings.namespaces),
        writer=StatusWriter(client, cache, queue),
        events=EventPoster(client),
        election=election,
        certificate=serving_certificate(settings, client),
    )


def _build_election(settings: Settings, client: Client) -> Election:
    place = Key(settings.lease_namespace, settings.lease_name)
    service = Key(settings.lease_namespace, settings.service) if settings.service else None
    return Election(client, place, settings.identity, owner=OwnService(client, service))


def build_planning(base: Base) -> Planning:
    """Return the deciding parts: reports and workers share the gatherer and the decider."""
    warnings = WarningEvents(base.client, base.queue)
    gatherer = Gatherer(base.client, base.cache, warnings)
    decider = Decider(plan, policy_settings(base.settings))
    reports = _build_reports(base, Restater(gatherer, decider, lambda: base.is_leading))
    reconciler = Reconciler(
        cache=base.cache,
        queue=base.queue,
        gatherer=gatherer,
        decider=decider,
        executor=_build_executor(base, decider),
        reports=reports,
    )
    may_plan = base.lists.places.may_plan
    loop = ReconcileLoop(base.queue, reconciler, base.metrics, may_plan)
    return Planning(warnings, reports, loop)


def _build_reports(base: Base, restater: Restater) -> ReportQueue:
    writer = ReportWriter(
        cache=base.cache, writer=base.writer, events=base.events, restate=restater.restate
    )
    return ReportQueue(
        cache=base.cache,
        queue=base.queue,
        writer=writer,
        pace=Pace(interval_s=base.settings.status_interval_s),
        leads=restater.leads,
        count=base.metrics.report_handled,
    )


def _build_executor(base: Base, decider: Decider) -> PlanExecutor:
    certificate = base.certificate
    manifests = Manifests(decider.settings, certificate.trusted if certificate else str)
    applier = Applier(base.client, base.cache, base.events, manifests)
    return PlanExecutor(base.writer, applier, decider.now)


def build_resync(base: Base, reports: ReportQueue) -> Resync:
    """Return the resync, which also drops the reports of trainings that no longer exist."""
    return Resync(
        lists=base.lists,
        cache=base.cache,
        queue=base.queue,
        interval_s=base.settings.resync_s,
        telemetry=base.metrics,
        tidy=reports.forget_gone,
    )


def build_watch_monitor(base: Base, resync: Resync) -> WatchMonitor:
    """Return the monitor of the watches; a watch that starts again requests a resync."""
    return WatchMonitor(
        namespaces=base.settings.namespaces,
        on_relist=resync.request,
        telemetry=base.metrics,
    )
