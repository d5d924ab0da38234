"""Who plans: the decision as a table, and the election in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detection_operator.cluster.api.lease import (
    CALL_S,
    LEASE_S,
    RENEW_DEADLINE_S,
    RETRY_S,
    Election,
    Move,
    Seen,
    decide,
    next_spec,
    observe,
)
from detection_operator.cluster.api.owner import OwnService
from detection_operator.cluster.api.resources import LEASES, SERVICES, Key, Object, Resource
from detection_operator.errors import ClusterError, ForbiddenError, UnavailableError
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.virtual_time import run_in_virtual_time

NOW = datetime(2026, 11, 26, 10, tzinfo=UTC)
PROMPTLY_S = 1.0
SERVICE = Key("system", "operator")


def lease(holder: str = "b", **spec: Any) -> Object:
    fields = {"holderIdentity": holder, "leaseDurationSeconds": 15, **spec}
    return {"metadata": {"name": "operator", "resourceVersion": "7"}, "spec": fields}


def seen(holder: str = "b", since: float = 100.0, **spec: Any) -> Seen:
    return Seen(lease(holder, **spec), since)


DECISIONS: dict[str, tuple[Seen | None, float, Move]] = {
    "there is none": (None, 100.0, Move.CREATE),
    "it is ours": (seen("a"), 101.0, Move.RENEW),
    "it is ours and has run out": (seen("a"), 900.0, Move.RENEW),
    "another has just renewed it": (seen("b"), 100.0, Move.WAIT),
    "another's has not quite run out": (seen("b"), 114.9, Move.WAIT),
    "another's has run out": (seen("b"), 115.0, Move.TAKE),
    "another requests a longer one": (seen("b", leaseDurationSeconds=60), 159.0, Move.WAIT),
    "its holder gives no duration": (seen("b", leaseDurationSeconds=None), 114.0, Move.WAIT),
    "it was given up": (seen(""), 100.0, Move.TAKE),
    "a person emptied it": (Seen({"metadata": {}}, 100.0), 100.0, Move.TAKE),
    "its holder's clock is a day ahead": (
        seen("b", renewTime="2026-11-27T10:00:00.000000Z"),
        115.0,
        Move.TAKE,
    ),
    "its holder's clock is a day behind": (
        seen("b", renewTime="2026-11-25T10:00:00.000000Z"),
        114.0,
        Move.WAIT,
    ),
}


@pytest.mark.parametrize(("found", "now", "move"), DECISIONS.values(), ids=DECISIONS.keys())
def test_what_a_replica_does_about_the_lease(found: Seen | None, now: float, move: Move) -> None:
    assert decide(found, "a", now) is move


def test_only_a_renewal_extends_a_lease() -> None:
    first = observe(None, lease(renewTime="1"), 100.0)
    labelled = lease(renewTime="1") | {"metadata": {"resourceVersion": "8", "labels": {"a": "b"}}}
    touched = observe(first, labelled, 105.0)
    assert touched is not None
    assert (touched.since, touched.body) == (100.0, labelled)
    renewed = observe(touched, lease(renewTime="2"), 110.0)
    assert renewed is not None
    assert renewed.since == 110.0
    assert observe(renewed, None, 111.0) is None


def test_the_lease_records_since_when_and_how_often_its_holder_changed() -> None:
    made = next_spec(None, "a", NOW)
    assert made == {
        "holderIdentity": "a",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-11-26T10:00:00.000000Z",
        "renewTime": "2026-11-26T10:00:00.000000Z",
        "leaseTransitions": 0,
    }
    later = NOW + timedelta(seconds=2)
    renewed = next_spec(Seen({"spec": made}, 0), "a", later)
    assert renewed == made | {"renewTime": "2026-11-26T10:00:02.000000Z"}
    given_up = next_spec(Seen({"spec": renewed}, 0), "", later)
    assert (given_up["holderIdentity"], given_up["leaseTransitions"]) == ("", 0)
    taken = next_spec(Seen({"spec": given_up}, 0), "b", later)
    assert (taken["acquireTime"], taken["leaseTransitions"]) == (taken["renewTime"], 1)


class Line(FakeCluster):
    """One replica's connection to the API server that all share."""

    def __init__(self, server: FakeCluster) -> None:
        super().__init__()
        self.objects, self._versions = server.objects, server._versions
        self.hangs = False
        self.answers_after_s = 0.05
        self.error: ClusterError | None = None

    async def get(self, resource: Resource, namespace: str, name: str) -> Object:
        await self._pass()
        return await super().get(resource, namespace, name)

    async def create(self, resource: Resource, namespace: str, body: Object) -> Object:
        await self._pass()
        return await super().create(resource, namespace, body)

    async def replace(self, resource: Resource, namespace: str, name: str, body: Object) -> Object:
        await self._pass()
        written = await super().replace(resource, namespace, name, body)
        await asyncio.sleep(self.answers_after_s)  # The answer is on its way.
        return written

    async def wait_change(self, *which: Any) -> None:
        await self._pass()
        await super().wait_change(*which)

    async def _pass(self) -> None:
        await asyncio.sleep(0.01)
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


@dataclass
class Replica:
    """One that competes; `spans` are the times at which it led."""

    line: Line
    name: str
    spans: list[list[float]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        clock = asyncio.get_running_loop().time
        owner = OwnService(self.line, SERVICE)
        self.election = Election(self.line, SERVICE, self.name, owner=owner, clock=clock)

    def start(self) -> None:
        self.task = asyncio.create_task(self.election.run(self.work))

    async def work(self) -> None:
        clock = asyncio.get_running_loop().time
        self.spans.append([clock()])
        try:
            await asyncio.Event().wait()
        finally:
            self.spans[-1].append(clock())

    @property
    def works(self) -> bool:
        return bool(self.spans) and len(self.spans[-1]) == 1

    async def stop(self) -> None:
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait([self.task])


@dataclass
class Stage:
    """Two replicas and the API server between them."""

    server: FakeCluster
    one: Replica
    two: Replica

    @property
    def holder(self) -> str:
        found = self.server.objects.get(("leases", "system", "operator"))
        assert found is not None
        return str(found["spec"]["holderIdentity"])

    @property
    def renewed(self) -> str:
        found = self.server.objects["leases", "system", "operator"]
        return str(found["spec"]["renewTime"])

    def remove_lease(self) -> None:
        del self.server.objects["leases", "system", "operator"]


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """Let `one` lead, and `two` stand by."""
    server = FakeCluster()
    found = Stage(server, *(Replica(Line(server), name) for name in ("one", "two")))
    found.one.start()
    await until(lambda: found.one.works, PROMPTLY_S)
    found.two.start()
    await asyncio.sleep(RETRY_S)
    try:
        yield found
    finally:
        for replica in (found.one, found.two):
            replica.line.hangs = False
            await replica.stop()


async def until(condition: Callable[[], bool], within_s: float) -> float:
    """Wait for `condition`; return how long it took."""
    clock = asyncio.get_running_loop().time
    started = clock()
    while not condition():
        assert clock() - started <= within_s, f"not within {within_s} s"
        await asyncio.sleep(0.01)
    return clock() - started


def in_virtual_time(
    test: Callable[[], Coroutine[Any, Any, None]],
) -> Callable[[], None]:
    """Let a coroutine be a test whose waits cost nothing."""

    def run() -> None:
        run_in_virtual_time(test())

    run.__name__ = test.__name__
    return run


@in_virtual_time
async def test_one_leads_for_as_long_as_it_can_renew() -> None:
    async with stage() as at:
        await asyncio.sleep(3600)
        assert at.one.works
        assert (at.two.spans, at.holder) == ([], "one")
        assert at.one.election.transitions == 0


@in_virtual_time
async def test_one_of_two_replicas_that_start_at_once_leads() -> None:
    server = FakeCluster()
    both = [Replica(Line(server), name) for name in ("one", "two")]
    for replica in both:
        replica.start()
    await asyncio.sleep(60)
    assert sorted(replica.works for replica in both) == [False, True]
    for replica in both:
        await replica.stop()


@in_virtual_time
async def test_one_that_ends_hands_over_at_once() -> None:
    async with stage() as at:
        await at.one.stop()
        assert at.holder == ""
        await until(lambda: at.two.works, PROMPTLY_S)
        assert at.two.election.transitions == 1


@in_virtual_time
async def test_a_standby_that_ends_does_not_affect_the_leader() -> None:
    async with stage() as at:
        await at.two.stop()
        assert at.holder == "one"
        await asyncio.sleep(2 * LEASE_S)
        assert len(at.one.spans) == 1
        assert at.one.works


@in_virtual_time
async def test_a_leader_whose_calls_hang_stops_before_another_begins() -> None:
    async with stage() as at:
        at.one.line.hangs = True
        await see_it_replaced(at)
        at.one.line.hangs = False
        await see_it_stand_by(at)


@in_virtual_time
async def test_a_leader_whose_calls_fail_stops_before_another_begins() -> None:
    async with stage() as at:
        at.one.line.error = UnavailableError("GET", 0, "cut off")
        await see_it_replaced(at)
        at.one.line.error = None
        await see_it_stand_by(at)


@in_virtual_time
async def test_the_duration_of_an_answer_does_not_extend_the_lease() -> None:
    async with stage() as at:
        at.one.line.answers_after_s = CALL_S - 0.1
        known = at.renewed
        await until(lambda: at.renewed != known, 2 * RETRY_S)
        at.one.line.hangs = True
        await until(lambda: not at.one.works, RENEW_DEADLINE_S + 0.1)


async def see_it_replaced(at: Stage) -> None:
    took = await until(lambda: not at.one.works, RENEW_DEADLINE_S + 0.1)
    assert took > RENEW_DEADLINE_S - RETRY_S - 0.1
    assert not at.two.works
    await until(lambda: at.two.works, LEASE_S)
    assert at.one.spans[0][1] < at.two.spans[0][0]


async def see_it_stand_by(at: Stage) -> None:
    await asyncio.sleep(60)
    assert not at.one.works
    assert at.two.works, "leading does not go to and fro"


@in_virtual_time
async def test_a_leader_keeps_leading_after_an_outage_of_the_api_server() -> None:
    async with stage() as at:
        for replica in (at.one, at.two):
            replica.line.error = UnavailableError("GET", 503, "starting")
        await until(lambda: not at.one.works, RENEW_DEADLINE_S + 0.1)
        await asyncio.sleep(300)
        for replica in (at.one, at.two):
            replica.line.error = None
        await until(lambda: at.one.works or at.two.works, LEASE_S)
        await asyncio.sleep(60)
        assert at.one.works != at.two.works


@in_virtual_time
async def test_a_short_outage_has_no_effect() -> None:
    async with stage() as at:
        at.one.line.error = UnavailableError("PUT", 500, "etcd has no leader")
        await asyncio.sleep(RENEW_DEADLINE_S - 2 * RETRY_S)
        at.one.line.error = None
        await asyncio.sleep(60)
        assert len(at.one.spans) == 1
        assert at.one.works
        assert not at.two.spans


@in_virtual_time
async def test_a_lease_that_a_person_deletes_is_created_again() -> None:
    async with stage() as at:
        at.remove_lease()
        await asyncio.sleep(3 * LEASE_S)
        assert at.one.works != at.two.works
        assert at.holder == ("one" if at.one.works else "two")
        assert at.one.election.obstacle == at.two.election.obstacle == ""


def put_service(server: FakeCluster, uid: str) -> None:
    metadata = {"name": SERVICE.name, "namespace": SERVICE.namespace, "uid": uid}
    server.put(SERVICES, {"metadata": metadata})


def owner_uids(server: FakeCluster) -> list[str]:
    found = server.find(LEASES, "operator", SERVICE.namespace)
    assert found is not None
    return [owner["uid"] for owner in found["metadata"].get("ownerReferences", [])]


@in_virtual_time
async def test_the_lease_belongs_to_the_operators_service() -> None:
    async with stage() as at:
        assert owner_uids(at.server) == [], "there is no Service yet"
        put_service(at.server, "service-1")
        at.remove_lease()
        await asyncio.sleep(3 * LEASE_S)
        assert owner_uids(at.server) == ["service-1"]
        put_service(at.server, "service-2")
        at.remove_lease()
        await asyncio.sleep(3 * LEASE_S)
        assert owner_uids(at.server) == ["service-2"]
        at.one.line.objects.pop(("services", *SERVICE))
        at.remove_lease()
        await asyncio.sleep(3 * LEASE_S)
        assert owner_uids(at.server), "the cluster deletes a Lease whose owner is gone"


@in_virtual_time
async def test_a_standby_creates_no_lease_without_an_owner_during_an_uninstall() -> None:
    server = FakeCluster()
    put_service(server, "service-1")
    leader, standby = (Replica(Line(server), name) for name in ("one", "two"))
    leader.start()
    await until(lambda: leader.works, PROMPTLY_S)
    standby.start()
    await asyncio.sleep(RETRY_S)
    leader.line.hangs = True
    del server.objects["services", SERVICE.namespace, SERVICE.name]
    del server.objects["leases", SERVICE.namespace, "operator"]
    await until(lambda: standby.works, 2 * LEASE_S)
    assert owner_uids(server) == ["service-1"]
    for replica in (leader, standby):
        replica.line.hangs = False
        await replica.stop()


@in_virtual_time
async def test_a_lease_without_an_owner_gets_one_when_it_is_taken() -> None:
    server = FakeCluster()
    found = lease("")
    found["metadata"]["namespace"] = SERVICE.namespace
    server.put(LEASES, found)
    put_service(server, "service-1")
    replica = Replica(Line(server), "one")
    replica.start()
    await until(lambda: replica.works, PROMPTLY_S)
    assert owner_uids(server) == ["service-1"]
    await replica.stop()
    assert owner_uids(server) == ["service-1"]


@in_virtual_time
async def test_a_replica_that_may_not_read_its_service_leads_without_an_owner() -> None:
    server = FakeCluster()
    replica = Replica(Line(server), "one")
    replica.line.failures["get", "services"] = ForbiddenError("GET", 403, "no")
    replica.start()
    await until(lambda: replica.works, PROMPTLY_S)
    assert owner_uids(server) == []
    assert replica.election.obstacle == ""
    await replica.stop()


@in_virtual_time
async def test_a_lease_that_a_person_gives_away_is_lost_at_once() -> None:
    async with stage() as at:
        at.server.put(LEASES, {**lease("nobody"), "metadata": dict(LEASE_METADATA)})
        await until(lambda: not at.one.works, 2 * RETRY_S + 0.1)
        await until(lambda: at.one.works or at.two.works, LEASE_S + RETRY_S)


LEASE_METADATA = {"name": "operator", "namespace": "system"}


@in_virtual_time
async def test_a_right_that_is_missing_is_named_until_it_is_there() -> None:
    server = FakeCluster()
    replica = Replica(Line(server), "one")
    replica.line.error = ForbiddenError("GET /leases/operator", 403, "leases is forbidden")
    replica.start()
    await asyncio.sleep(10)
    assert "may not get, watch, create and update the Lease system/operator" in (
        replica.election.obstacle
    )
    assert not replica.works
    replica.line.error = None
    await until(lambda: replica.works, RETRY_S + 1)
    assert replica.election.obstacle == ""
    await replica.stop()


@in_virtual_time
async def test_a_container_that_starts_again_in_its_pod_leads_at_once() -> None:
    async with stage() as at:
        again = Replica(Line(at.server), "one")
        again.start()
        await until(lambda: again.works, PROMPTLY_S)
        await again.stop()


@in_virtual_time
async def test_work_that_fails_ends_the_election_and_frees_the_lease() -> None:
    server = FakeCluster()
    replica = Replica(Line(server), "one")

    async def fail() -> None:
        raise RuntimeError("an error of ours")

    with pytest.raises(RuntimeError, match="an error of ours"):
        await replica.election.run(fail)
    assert server.objects["leases", "system", "operator"]["spec"]["holderIdentity"] == ""


@in_virtual_time
async def test_an_end_in_the_middle_of_a_renewal_frees_the_lease_too() -> None:
    async with stage() as at:
        renewals = at.one.line.calls
        known = len(renewals)
        await until(lambda: len(renewals) > known, 2 * RETRY_S)
        await at.one.stop()
        assert at.holder == ""
