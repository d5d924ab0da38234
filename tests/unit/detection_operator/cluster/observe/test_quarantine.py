"""An object that cannot be read is held by itself: it exists, and is read again on a change."""

import asyncio
from typing import Any

import pytest

from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key, Object, Resource
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.lists import WatchedLists
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.resync import Resync
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.errors import UnreadableError
from tests.support.operator.cluster_objects import (
    JOB_UID,
    POD_UID,
    REF,
    UID,
    attempt_status,
    container_status,
    job,
    newer,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.telemetry import Silence

TREES = Key("vision", "trees")


def odd_job(**metadata: Any) -> Object:
    conditions = [{"type": {"a": "b"}, "status": "True"}]
    return job(status={"conditions": conditions}, **metadata)


def odd_pod() -> Object:
    return pod(status=container_status(terminated={"exitCode": "0"}))


ODD: dict[str, tuple[Resource, Object, str]] = {
    "a Job with a condition of no type": (JOBS, odd_job(), JOB_UID),
    "a Job of a text's workers": (JOBS, job() | {"spec": {"parallelism": "2"}}, JOB_UID),
    "a pod with a text for its exit code": (PODS, odd_pod(), POD_UID),
    "a pod whose status is a list": (PODS, pod() | {"status": [1]}, POD_UID),
    "a pod created at no time": (PODS, pod(creationTimestamp={}, deletionTimestamp="x"), POD_UID),
    "a training whose labels are a list": (
        TRAININGS,
        stored_training() | {"status": ["x"]},
        UID,
    ),
}


@pytest.mark.parametrize(("resource", "body", "uid"), ODD.values(), ids=ODD.keys())
def test_it_is_named_counted_and_not_treated_as_deleted(
    resource: Resource, body: Object, uid: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache, counted = Cache(), list[str]()
    cache.quarantine.on_held = counted.append
    cache.apply(resource, body)
    cache.apply(resource, body)
    assert (len(cache.quarantine), counted) == (1, [resource.plural])
    assert f"{resource.kind} vision/{body['metadata']['name']} cannot be read" in caplog.text
    assert len(caplog.records) == 1, "once for each version"
    assert uid in cache.versions(resource)
    cache.apply(resource, newer(body))
    assert counted == [resource.plural] * 2, "it has changed, and still cannot be read"
    cache.forget(resource, uid)
    assert len(cache.quarantine) == 0
    assert uid not in cache.versions(resource)


def test_it_is_read_again_when_it_changes() -> None:
    cache = Cache()
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, newer(odd_job()))
    assert not cache.apply(JOBS, job()) or len(cache.quarantine) == 1, (
        "an older state changes nothing"
    )
    assert cache.apply(JOBS, newer(job(), 2)) == {TREES}
    assert len(cache.quarantine) == 0


def test_what_was_known_before_stays() -> None:
    cache = Cache()
    cache.apply(JOBS, job())
    cache.apply(JOBS, newer(odd_job()))
    assert [record.job.name for record in cache.jobs(REF)] == [job()["metadata"]["name"]]


HIDDEN = {
    "its Job": (odd_job(), None),
    "its pod, whose Job has ended": (
        job(status={"conditions": [{"type": "Failed", "status": "True"}]}),
        odd_pod(),
    ),
    "a pod without its Job": (None, odd_pod()),
}


@pytest.mark.parametrize(("job_body", "pod_body"), HIDDEN.values(), ids=HIDDEN.keys())
@pytest.mark.parametrize("known", [True, False], ids=["by the watch", "when the API is read"])
async def test_no_attempt_follows_one_that_cannot_be_seen(
    job_body: Object | None, pod_body: Object | None, *, known: bool
) -> None:
    cache, api = Cache(), FakeCluster()
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    for resource, body in ((JOBS, job_body), (PODS, pod_body)):
        if body is not None:
            api.put(resource, body)
            if known:
                cache.apply(resource, body)
    gatherer = Gatherer(api, cache, WarningEvents(api, KeyQueue()))
    with pytest.raises(UnreadableError, match="cannot be read"):
        await gatherer.gather(TREES)


async def test_an_invalid_object_of_another_namespace_delays_nothing() -> None:
    cache, api = Cache(), FakeCluster()
    cache.apply(TRAININGS, stored_training())
    cache.apply(JOBS, odd_job(namespace="elsewhere"))
    gatherer = Gatherer(api, cache, WarningEvents(api, KeyQueue()))
    assert await gatherer.gather(TREES) is not None


async def test_a_resync_reads_all_other_objects() -> None:
    cache, api, queue = Cache(), FakeCluster(), KeyQueue()
    for resource, body, _ in ODD.values():
        api.put(resource, body)
    api.put(TRAININGS, stored_training("neighbour", "uid-neighbour"))
    resync = Resync(
        lists=WatchedLists(api, []),
        cache=cache,
        queue=queue,
        interval_s=600.0,
        telemetry=Silence(),
    )
    await resync.fill()
    assert cache.training_keys() == [Key("vision", "neighbour")]
    held = len(cache.quarantine)
    await resync.compare()
    assert len(cache.quarantine) == held == 3
    assert api.called("get", JOBS) == [], "what is held is not read at each comparison"


async def test_a_comparison_that_fails_unexpectedly_is_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("detection_operator.cluster.observe.resync.RETRY_S", 0.0)
    done = asyncio.Event()
    resync = Resync(
        lists=WatchedLists(FakeCluster(), []),
        cache=Cache(),
        queue=KeyQueue(),
        interval_s=0.0,
        telemetry=Silence(),
        tidy=done.set,
    )
    tries = iter([KeyError("a mistake"), None])
    compare = resync.compare

    async def once_mistaken() -> None:
        if error := next(tries, None):
            raise error
        await compare()

    monkeypatch.setattr(resync, "compare", once_mistaken)
    running = asyncio.create_task(resync.run())
    await asyncio.wait_for(done.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "comparing the cache with the cluster failed" in caplog.text


@pytest.mark.parametrize("generation", [-1, 2**63, "1", True])
def test_no_training_is_decided_on_an_impossible_generation(generation: Any) -> None:
    body = stored_training()
    body["metadata"]["generation"] = generation
    cache = Cache()
    cache.apply(TRAININGS, body)
    record = cache.training(TREES)
    assert record is not None
    with pytest.raises(UnreadableError, match="expected a whole number"):
        record.parse()
