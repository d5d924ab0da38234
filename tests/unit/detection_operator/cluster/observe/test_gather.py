"""Gathering: from the cache, and from the API where absence decides."""

from datetime import UTC, datetime, timedelta

import pytest

from detection_operator.cluster.api.resources import EVENTS, JOBS, PODS, TRAININGS, Key, Object
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.gather import Gathered, Gatherer
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.errors import UnavailableError
from tests.support.operator.cluster_objects import (
    JOB,
    JOB_UID,
    POD_UID,
    UID,
    attempt_status,
    container_status,
    job,
    newer,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster

TREES = Key("vision", "trees")
CREATED = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
LATER = CREATED + timedelta(minutes=1)
FAILED = {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}


@pytest.fixture
def api() -> FakeCluster:
    return FakeCluster()


@pytest.fixture
def cache() -> Cache:
    return Cache()


async def gather(
    api: FakeCluster, cache: Cache, key: Key = TREES, warnings: WarningEvents | None = None
) -> Gathered:
    found = await Gatherer(api, cache, warnings or no_warnings(api)).gather(key)
    assert found is not None
    return found


def no_warnings(api: FakeCluster) -> WarningEvents:
    return WarningEvents(api, KeyQueue())


async def test_a_deleted_training_is_not_found(api: FakeCluster, cache: Cache) -> None:
    assert await Gatherer(api, cache, no_warnings(api)).gather(TREES) is None


async def test_a_job_is_observed_with_its_pods(api: FakeCluster, cache: Cache) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job())
    running = container_status(running={"startedAt": "2026-11-24T10:00:00Z"})
    cache.apply(PODS, pod(status=running))
    found = await gather(api, cache)
    [made] = found.observed.jobs
    assert [p.uid for p in made.pods] == [POD_UID]
    assert found.observed.orphans == ()
    assert found.recheck_after_s is None
    assert api.calls == [], "the cache knew it all"


async def test_of_pods_that_a_queue_had_deleted_before_they_started_only_the_newest_counts(
    api: FakeCluster, cache: Cache
) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job())
    for uid, created in (("uid-2", "10:00:05"), ("uid-3", "10:00:09"), ("uid-1", "10:00:01")):
        old = pod(uid=uid, name=f"trees-{uid}", creationTimestamp=f"2026-11-24T{created}Z")
        cache.apply(PODS, old)
        cache.forget(PODS, uid)
    assert [p.uid for p in (await gather(api, cache)).observed.jobs[0].pods] == ["uid-3"]
    cache.apply(PODS, pod(uid="uid-4", creationTimestamp="2026-11-24T10:00:09Z"))
    assert [p.uid for p in (await gather(api, cache)).observed.jobs[0].pods] == ["uid-4"]


async def test_pods_that_outlive_their_job_are_orphans(api: FakeCluster, cache: Cache) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status(jobUID=JOB_UID)))
    cache.apply(PODS, pod())
    found = await gather(api, cache)
    assert [p.uid for p in found.observed.orphans] == [POD_UID]
    assert found.ended_orphans == (), "it runs"
    cache.forget(PODS, POD_UID)
    assert (await gather(api, cache)).ended_orphans == (POD_UID,)


async def test_a_job_that_the_watch_has_not_reported_is_looked_up(
    api: FakeCluster, cache: Cache
) -> None:
    api.put(JOBS, job())
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    found = await gather(api, cache)
    assert [j.name for j in found.observed.jobs] == [JOB]
    assert api.called("get", JOBS) == [JOB]


async def test_a_job_that_is_missing_for_good_is_absent(api: FakeCluster, cache: Cache) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    assert (await gather(api, cache)).observed.jobs == ()


async def test_an_attempt_that_is_over_needs_no_looking_up(api: FakeCluster, cache: Cache) -> None:
    outcome = {"reason": "Saved", "message": "", "finishedAt": "2026-11-24T10:00:00Z"}
    cache.apply(TRAININGS, stored_training(status=attempt_status(outcome=outcome)))
    await gather(api, cache)
    assert api.calls == []


async def test_no_answer_is_not_mistaken_for_absence(api: FakeCluster, cache: Cache) -> None:
    api.failures["get", "jobs"] = UnavailableError("GET", 503, "down")
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    with pytest.raises(UnavailableError):
        await gather(api, cache)


async def test_the_pods_of_a_failed_job_are_looked_up_where_none_is_known(
    api: FakeCluster, cache: Cache
) -> None:
    api.put(PODS, pod(status=container_status(terminated={"exitCode": 70})))
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job(status=FAILED))
    [made] = (await gather(api, cache)).observed.jobs
    assert made.pods[0].termination is not None
    assert made.pods[0].termination.exit_code == 70


async def test_the_pod_of_a_deleted_job_is_looked_up_before_its_absence_ends_the_attempt(
    api: FakeCluster, cache: Cache
) -> None:
    running = container_status(running={"startedAt": "2026-11-24T10:00:00Z"})
    api.put(PODS, pod(status=running))
    began = attempt_status(startedAt="2026-11-24T10:00:00Z")
    cache.apply(TRAININGS, stored_training(status=began))
    cache.apply(JOBS, job())
    cache.forget(JOBS, JOB_UID)
    [orphan] = (await gather(api, cache)).observed.orphans
    assert (orphan.uid, orphan.termination) == (POD_UID, None), "its trainer may still write"


async def test_the_pods_of_a_job_that_its_queue_withdrew_are_looked_up(
    api: FakeCluster, cache: Cache
) -> None:
    api.put(PODS, pod(deletionTimestamp="2026-11-24T10:01:00Z"))
    began = attempt_status(startedAt="2026-11-24T10:00:00Z")
    cache.apply(TRAININGS, stored_training(status=began))
    cache.apply(JOBS, {**job(), "spec": {"suspend": True}})
    [made] = (await gather(api, cache)).observed.jobs
    assert [p.uid for p in made.pods] == [POD_UID], "it saves"


async def test_a_job_that_has_never_had_its_queues_place_has_no_pods_to_look_up(
    api: FakeCluster, cache: Cache
) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, {**job(), "spec": {"suspend": True}})
    await gather(api, cache)
    assert api.calls == []


@pytest.fixture
def queue() -> KeyQueue:
    return KeyQueue()


@pytest.fixture
def warnings(api: FakeCluster, queue: KeyQueue) -> WarningEvents:
    return WarningEvents(api, queue, now=lambda: LATER)


def failed_create(message: str, at: str) -> Object:
    return {
        "metadata": {"name": f"e-{at}"},
        "involvedObject": {"kind": "Job", "uid": JOB_UID},
        "reason": "FailedCreate",
        "message": message,
        "lastTimestamp": at,
    }


async def test_a_job_without_a_pod_reports_why_once_events_state_it(
    api: FakeCluster, cache: Cache, warnings: WarningEvents, queue: KeyQueue
) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job())
    found = await gather(api, cache, warnings=warnings)
    assert found.observed.jobs[0].rejected == ""
    assert api.called("list", EVENTS) == [], "one list serves all"
    api.put(EVENTS, failed_create("violates PodSecurity", "2026-11-24T10:00:09Z"))
    await warnings.read()
    assert queue.depth() == 1
    found = await gather(api, cache, warnings=warnings)
    assert found.observed.jobs[0].rejected == "violates PodSecurity"
    assert found.recheck_after_s is None, "it is queued when there is news"
    cache.apply(PODS, pod())
    found = await gather(api, cache, warnings=warnings)
    assert found.observed.jobs[0].rejected == ""


async def test_a_pod_that_does_not_start_reports_its_events(
    api: FakeCluster, cache: Cache, warnings: WarningEvents
) -> None:
    missing = 'MountVolume.SetUp failed for volume "credentials-0": secret "s3" not found'
    event = {"metadata": {"name": "e"}, "message": missing, "type": "Warning"}
    involved = {"kind": "Pod", "uid": POD_UID}
    api.put(EVENTS, {**event, "involvedObject": involved, "reason": "FailedMount"})
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job())
    cache.apply(PODS, pod())
    early = await gather(api, cache, warnings=warnings)
    assert early.observed.jobs[0].pods[0].waiting is None
    await warnings.read()
    found = await gather(api, cache, warnings=warnings)
    waiting = found.observed.jobs[0].pods[0].waiting
    assert waiting is not None
    assert (waiting.reason, waiting.message) == ("FailedMount", missing)


@pytest.mark.parametrize("scheduled", ["", "pod has unbound immediate PersistentVolumeClaims."])
async def test_a_pod_without_a_node_reports_the_events_of_its_claim(
    api: FakeCluster, cache: Cache, warnings: WarningEvents, scheduled: str
) -> None:
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    conditions = [{**unscheduled, "message": scheduled}] if scheduled else []
    body = pod(status={"phase": "Pending", "conditions": conditions})
    claim = {"claimName": "trees-checkpoints"}
    body["spec"] = {"volumes": [{"name": "checkpoints", "persistentVolumeClaim": claim}]}
    involved = {"kind": "PersistentVolumeClaim", "name": "trees-checkpoints"}
    event = {"metadata": {"name": "e"}, "involvedObject": involved, "type": "Normal"}
    api.put(EVENTS, {**event, "reason": "FailedBinding", "message": "no storage class is set"})
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job())
    cache.apply(PODS, body)
    await gather(api, cache, warnings=warnings)
    await warnings.read()
    found = await gather(api, cache, warnings=warnings)
    waits = found.observed.jobs[0].pods[0].unschedulable
    assert waits is not None
    claim_message = (
        "PersistentVolumeClaim trees-checkpoints: FailedBinding: no storage class is set"
    )
    assert waits.message == " ".join(filter(None, (scheduled, claim_message)))


async def test_a_deleted_training_is_no_longer_followed(
    api: FakeCluster, cache: Cache, warnings: WarningEvents
) -> None:
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(JOBS, job())
    await gather(api, cache, warnings=warnings)
    cache.forget(TRAININGS, UID)
    assert await Gatherer(api, cache, warnings).gather(TREES) is None
    await warnings.read()
    assert api.called("list", EVENTS) == []


async def test_the_source_is_observed_whether_it_exists_or_not(
    api: FakeCluster, cache: Cache
) -> None:
    restore = {"mode": "detection", "from": {"trainingRef": {"name": "coco"}}}
    cache.apply(TRAININGS, stored_training(restore=restore))
    source = (await gather(api, cache)).observed.source
    assert source is not None
    assert (source.name, source.found) == ("coco", False)
    cache.apply(TRAININGS, stored_training("coco", uid="uid-coco", steps=7))
    source = (await gather(api, cache)).observed.source
    assert source is not None
    assert source.found
    assert source.spec is not None
    assert source.spec.steps == 7


async def test_the_folder_belongs_to_the_older_training(api: FakeCluster, cache: Cache) -> None:
    storage = {"storage": {"uri": "s3://runs/one"}}
    cache.apply(TRAININGS, stored_training(checkpoints=storage))
    assert (await gather(api, cache)).observed.folder_owner is None
    older = stored_training("birds", uid="b", checkpoints=storage)
    older["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z"
    cache.apply(TRAININGS, older)
    assert (await gather(api, cache)).observed.folder_owner == "vision/birds"
    found = await gather(api, cache, Key("vision", "birds"))
    assert found.observed.folder_owner is None


async def test_of_two_created_in_one_second_the_one_that_started_owns_the_folder(
    api: FakeCluster, cache: Cache
) -> None:
    storage = {"storage": {"uri": "s3://runs/one"}}
    cache.apply(TRAININGS, stored_training("birds", uid="0", checkpoints=storage))
    cache.apply(TRAININGS, stored_training(status=attempt_status(), checkpoints=storage))
    assert (await gather(api, cache)).observed.folder_owner is None
    found = await gather(api, cache, Key("vision", "birds"))
    assert found.observed.folder_owner == "vision/trees"


async def test_a_folder_that_is_not_given_has_no_owner(api: FakeCluster, cache: Cache) -> None:
    cache.apply(TRAININGS, newer(stored_training(checkpoints={})))
    found = await gather(api, cache)
    assert found.observed.folder_owner is None
    assert found.observed.training.spec is None


async def test_a_folder_whose_trainings_were_deleted_has_no_owner(
    api: FakeCluster, cache: Cache
) -> None:
    body = api.put(TRAININGS, stored_training(status=attempt_status()))
    cache.apply(TRAININGS, body)
    # It goes while its Job is looked up.
    api.while_getting = lambda: cache.delete(TRAININGS, newer(body, 900))
    found = await gather(api, cache)
    assert found.observed.folder_owner is None


TEAM_B = Key("team-b", "trees")


def of_team_b(body: Object) -> Object:
    body["metadata"]["namespace"] = "team-b"
    return body


async def test_nothing_of_another_namespace_is_observed_of_a_training(
    api: FakeCluster, cache: Cache
) -> None:
    """One uid everywhere: what team-a writes names the objects of team-b in every field."""
    storage = {"storage": {"uri": "s3://runs/one"}}
    cache.apply(TRAININGS, of_team_b(stored_training(status=attempt_status(), checkpoints=storage)))
    older = stored_training("birds", uid="uid-a", checkpoints=storage, suspend=True)
    older["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z"
    cache.apply(TRAININGS, older)
    cache.apply(JOBS, job())
    cache.apply(PODS, pod(status=container_status(terminated={"exitCode": 0, "message": "{}"})))
    api.put(JOBS, job())
    api.put(PODS, pod())
    observed = (await gather(api, cache, TEAM_B)).observed
    assert (observed.jobs, observed.orphans, observed.folder_owner) == ((), (), None)


async def test_an_orphan_that_the_api_lists_is_not_believed_by_its_labels(
    api: FakeCluster, cache: Cache
) -> None:
    api.put(PODS, pod(job_uid="uid-of-no-job", status=container_status(terminated={"exitCode": 0})))
    cache.apply(TRAININGS, stored_training(status=attempt_status(jobUID=JOB_UID)))
    assert (await gather(api, cache)).observed.orphans == ()
    assert api.called("list", PODS), "it was asked for"


async def test_a_running_pod_is_waited_for_although_its_job_was_never_seen(
    api: FakeCluster, cache: Cache
) -> None:
    running = container_status(running={"startedAt": "2026-11-24T10:00:00Z"})
    api.put(PODS, pod(status=running))
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    found = await gather(api, cache)
    [orphan] = found.observed.orphans
    assert (orphan.uid, orphan.running_since) == (POD_UID, None), "it proves nothing but itself"
    assert found.recheck_after_s is not None
    api.put(PODS, pod(status=container_status(terminated={"exitCode": 0})))
    cache.apply(PODS, newer(pod(status=container_status(terminated={"exitCode": 0}))))
    found = await gather(api, cache)
    assert (found.observed.orphans, found.recheck_after_s) == ((), None)


async def test_a_source_is_in_the_namespace_of_the_training(api: FakeCluster, cache: Cache) -> None:
    cache.apply(TRAININGS, of_team_b(stored_training("coco", uid="uid-coco")))
    reference = {"trainingRef": {"name": "coco"}}
    cache.apply(TRAININGS, stored_training(restore={"mode": "detection", "from": reference}))
    source = (await gather(api, cache)).observed.source
    assert source is not None
    assert not source.found
    assert (source.spec, source.status) == (None, None)
