"""The cache: order of events, indexes, what is kept of what is deleted."""

from typing import Any

import pytest

from detection_operator.cluster.api.resources import (
    JOBS,
    PODS,
    TRAININGS,
    Key,
    Object,
    Resource,
)
from detection_operator.cluster.observe.cache import REMEMBERED_DELETIONS, Cache
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.packing import unpack
from detection_operator.cluster.observe.records import Version
from detection_operator.core.state import PodPhase
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

TREES, COCO = Key("vision", "trees"), Key("vision", "coco")


def filled() -> Cache:
    cache = Cache()
    cache.apply(TRAININGS, stored_training())
    cache.apply(JOBS, job())
    cache.apply(PODS, pod())
    return cache


def test_each_event_names_the_training_that_it_concerns() -> None:
    cache = Cache()
    assert cache.apply(TRAININGS, stored_training()) == {TREES}
    assert cache.apply(JOBS, job()) == {TREES}
    assert cache.apply(PODS, pod()) == {TREES}
    assert [record.job.name for record in cache.jobs(REF)] == ["trees-5f2c8a1b-1"]
    assert [record.pod.uid for record in cache.pods(REF)] == [POD_UID]


def test_an_older_state_never_replaces_a_newer_one() -> None:
    cache = filled()
    late = job(status={"conditions": [{"type": "Complete", "status": "True"}]})
    assert cache.apply(JOBS, newer(late)) == {TREES}
    assert not cache.apply(JOBS, job()), "an event that comes late, or twice"
    assert cache.jobs(REF)[0].job.complete
    assert not cache.apply(TRAININGS, stored_training())
    assert not cache.apply(PODS, pod())


def test_versions_that_are_not_numbers_are_accepted_in_the_order_of_arrival() -> None:
    assert Version("a", "x1").is_before(Version("a", "x0"))
    assert not Version("a", "x1").is_before(Version("a", "x1"))
    assert Version("a", "9").is_before(Version("b", "10"))


def test_a_late_answer_does_not_restore_a_deleted_object() -> None:
    cache = filled()
    assert cache.delete(JOBS, newer(job())) == {TREES}
    assert not cache.apply(JOBS, newer(job(), 5))
    assert cache.jobs(REF) == []


def test_a_deleted_pod_keeps_its_final_report_while_its_job_exists() -> None:
    cache = filled()
    last = pod(status=container_status(terminated={"exitCode": 75}))
    assert cache.delete(PODS, newer(last)) == {TREES}
    [record] = cache.pods(REF)
    assert record.gone
    assert record.pod.gone
    assert record.pod.termination is not None
    assert record.pod.phase is PodPhase.FAILED
    assert not cache.forget(PODS, POD_UID), "a second event of its end has no news"
    assert not cache.drop_ended_orphans([POD_UID]), "its Job is there"
    cache.delete(JOBS, newer(job()))
    assert cache.drop_ended_orphans([POD_UID])
    assert cache.pods(REF) == []


def test_a_replica_that_does_not_lead_forgets_the_pods_of_past_attempts() -> None:
    cache = filled()
    cache.apply(TRAININGS, newer(stored_training(status=attempt_status(1)), 500))
    cache.delete(PODS, newer(pod()))
    cache.delete(JOBS, newer(job()))
    cache.drop_past_orphans()
    assert cache.pods(REF), "it may lead next, and has to know how the attempt ended"
    cache.apply(TRAININGS, newer(stored_training(status=attempt_status(2)), 600))
    cache.drop_past_orphans()
    assert cache.pods(REF) == []


def test_a_pod_that_completed_before_it_was_deleted_stays_succeeded() -> None:
    cache = filled()
    cache.delete(PODS, newer(pod(status={"phase": "Succeeded"})))
    assert cache.pods(REF)[0].pod.phase is PodPhase.SUCCEEDED


def test_the_memory_of_pods_is_freed_with_their_training() -> None:
    cache = filled()
    cache.forget(PODS, POD_UID)
    assert cache.forget(TRAININGS, UID) == {TREES}
    assert cache.pods(REF) == []
    assert cache.training(TREES) is None
    assert not cache.forget(TRAININGS, UID)
    assert cache.forget(JOBS, JOB_UID) == {TREES}
    assert not cache.forget(JOBS, JOB_UID)


def test_pods_of_a_deleted_training_are_not_remembered() -> None:
    cache = filled()
    cache.forget(TRAININGS, UID)
    assert not cache.forget(PODS, POD_UID)
    assert cache.pod(POD_UID) is None
    assert not cache.forget(PODS, "never-heard-of")


def test_a_training_created_again_under_its_name_replaces_the_old_one() -> None:
    cache = filled()
    recreated = newer(stored_training(uid="uid-2"), 100)
    assert cache.apply(TRAININGS, recreated) == {TREES}
    assert not cache.forget(TRAININGS, UID), "the late deletion of the old one"
    record = cache.training(TREES)
    assert record is not None
    assert record.version.uid == "uid-2"


def test_objects_of_other_owners_are_not_cached() -> None:
    cache = Cache()
    stranger = job(ownerReferences=[])
    assert not cache.apply(JOBS, stranger)
    assert not cache.apply(PODS, pod(ownerReferences=[]))
    assert not cache.apply(PODS, pod(labels={}))
    assert cache.versions(JOBS) == {}
    assert cache.versions(PODS) == {}


def test_a_change_of_the_source_wakes_the_trainings_that_wait_for_it() -> None:
    cache = Cache()
    reference = {"trainingRef": {"name": "coco"}}
    waiting = stored_training(restore={"mode": "detection", "from": reference})
    going_on = stored_training("birds", uid="uid-birds", continueFrom=reference)
    cache.apply(TRAININGS, waiting)
    cache.apply(TRAININGS, going_on)
    source = stored_training("coco", uid="uid-coco")
    both = {COCO, TREES, Key("vision", "birds")}
    assert cache.apply(TRAININGS, source) == both
    assert cache.apply(TRAININGS, newer({**source, "status": attempt_status()})) == both
    cache.apply(TRAININGS, newer(stored_training()))
    assert cache.forget(TRAININGS, "uid-coco") == {COCO, Key("vision", "birds")}


def sharing(cache: Cache, key: Key) -> list[str]:
    record = cache.training(key)
    assert record is not None
    return [other.key.name for other in cache.sharing(record.folder)]


def test_trainings_that_share_a_folder_wake_each_other() -> None:
    cache = Cache()
    storage = {"storage": {"uri": "s3://runs/one"}}
    cache.apply(TRAININGS, stored_training(checkpoints=storage))
    other = stored_training(
        "birds", uid="uid-birds", checkpoints={"storage": {"uri": "s3://runs/one/"}}
    )
    other["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z"
    assert cache.apply(TRAININGS, other) == {TREES, Key("vision", "birds")}
    assert sharing(cache, TREES) == ["birds", "trees"]
    assert cache.forget(TRAININGS, "uid-birds") == {TREES, Key("vision", "birds")}
    assert sharing(cache, TREES) == ["trees"]


def test_claims_are_folders_of_their_namespace() -> None:
    cache = Cache()
    made = stored_training(checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}})
    cache.apply(TRAININGS, made)
    assert sharing(cache, TREES) == ["trees"]
    given = stored_training(
        "birds", uid="b", checkpoints={"storage": {"volumeClaim": {"claimName": "disk"}}}
    )
    cache.apply(TRAININGS, given)
    assert sharing(cache, Key("vision", "birds")) == ["birds"]
    nothing = stored_training("odd", uid="o", checkpoints={})
    cache.apply(TRAININGS, nothing)
    assert cache.sharing("") == []


def test_deletions_are_remembered_for_a_while_only() -> None:
    cache = Cache()
    cache.forget(PODS, "first")
    for number in range(REMEMBERED_DELETIONS):
        cache.forget(PODS, f"uid-{number}")
    cache.apply(TRAININGS, stored_training())
    cache.apply(JOBS, job())
    assert cache.apply(PODS, pod(uid="first")) == {TREES}
    assert not cache.apply(PODS, pod(uid="uid-7"))


def test_a_record_has_what_the_metrics_need() -> None:
    status = attempt_status(3) | {
        "step": 40,
        "stepsLost": 2,
        "progress": {"loss": "0.5"},
        "attemptCount": 3,
        "latestCheckpoint": {
            "step": 40,
            "uri": "s3://runs/trees/step-40",
            "digest": "sha256:" + "0" * 64,
            "savedAt": "2026-11-24T10:00:00Z",
        },
    }
    cache = Cache()
    cache.apply(TRAININGS, stored_training(status=status))
    [record] = cache.trainings()
    measures = record.measures
    assert (measures.step, measures.target_steps, measures.loss) == (40, 100, 0.5)
    assert (measures.attempts, measures.steps_lost, measures.phase) == (3, 2, "Running")
    assert measures.checkpoint_at is not None
    assert record.attempt == 3
    assert cache.training_keys() == [TREES]
    assert b"managedFields" not in unpack(record.packed)


def test_waiting_trainings_are_decided_first_and_ended_ones_last() -> None:
    cache = Cache()
    phases = {"done": "Complete", "runs": "Running", "failed": "Failed", "new": None}
    for number, (name, phase) in enumerate(phases.items()):
        status = {"phase": phase} if phase else None
        cache.apply(TRAININGS, stored_training(name, f"uid-{number}", status))
    names = [key.name for key in cache.training_keys()]
    assert names == ["new", "runs", "done", "failed"]


THERE, THERE_UID = Key("team-b", "trees"), "uid-of-team-b"
FOREIGN = Ref("team-b", THERE_UID)


def team_b() -> Cache:
    """Return a cache with a training of team-b that runs, its Job and its pod."""
    cache = Cache()
    place: dict[str, Any] = {"namespace": "team-b"}
    body = stored_training(uid=THERE_UID, status=attempt_status(jobUID="uid-job-b"))
    body["metadata"] |= place
    cache.apply(TRAININGS, body)
    cache.apply(JOBS, job(uid="uid-job-b", owner_uid=THERE_UID, **place))
    cache.apply(PODS, pod(uid="uid-pod-b", job_uid="uid-job-b", owner_uid=THERE_UID, **place))
    return cache


ENDED = container_status(terminated={"exitCode": 0, "message": "a report"})
HERE: dict[str, Any] = {"namespace": "team-a"}


@pytest.mark.parametrize(
    "objects",
    [
        pytest.param(
            [(JOBS, job(owner_uid=THERE_UID, **HERE)), (PODS, pod(owner_uid=THERE_UID, **HERE))],
            id="a Job of team-a that names the training of team-b as its controller",
        ),
        pytest.param(
            [(PODS, pod(job_uid="uid-job-b", owner_uid=THERE_UID, **HERE))],
            id="a pod of team-a that names the Job of team-b",
        ),
        pytest.param(
            [
                (JOBS, job(owner_uid=THERE_UID, ownerReferences=[], namespace="team-b")),
                (PODS, pod(owner_uid=THERE_UID, status=ENDED, namespace="team-b")),
            ],
            id="a Job of team-b with the labels alone, and its pod",
        ),
        pytest.param(
            [(PODS, pod(owner_uid=THERE_UID, status=ENDED, namespace="team-b"))],
            id="a pod of an unknown Job",
        ),
        pytest.param(
            [(PODS, pod(owner_uid=THERE_UID, ownerReferences=[], namespace="team-b"))],
            id="a pod with the labels alone",
        ),
    ],
)
def test_what_a_training_does_not_control_changes_nothing_of_it(
    objects: list[tuple[Resource, Object]],
) -> None:
    cache = team_b()
    for resource, body in objects:
        assert THERE not in cache.apply(resource, body)
    for resource, body in objects:
        assert THERE not in cache.delete(resource, newer(body))
    assert [record.version.uid for record in cache.jobs(FOREIGN)] == ["uid-job-b"]
    assert [record.version.uid for record in cache.pods(FOREIGN)] == ["uid-pod-b"]


def test_a_status_that_names_a_job_of_another_namespace_proves_nothing() -> None:
    cache = Cache()
    body = stored_training(status=attempt_status(jobUID="uid-job-b"))
    body["metadata"]["namespace"] = "team-a"
    cache.apply(TRAININGS, body)
    place: dict[str, Any] = {"namespace": "team-b"}
    cache.apply(JOBS, job(uid="uid-job-b", owner_uid=THERE_UID, **place))
    cache.apply(PODS, pod(uid="uid-pod-b", job_uid="uid-job-b", owner_uid=THERE_UID, **place))
    assert cache.jobs(Ref("team-a", UID)) == []
    assert cache.pods(Ref("team-a", UID)) == []


def test_a_pod_without_its_owner_reference_no_longer_belongs_to_the_training() -> None:
    cache = filled()
    stolen = pod(job_uid="uid-of-another-job")
    assert cache.apply(PODS, newer(stolen)) == {TREES}, "it is looked at again"
    assert cache.pods(REF) == []
    assert not cache.delete(PODS, newer(stolen, 2))
    cache = filled()
    assert cache.apply(PODS, newer(pod(ownerReferences=[]))) == {TREES}
    assert cache.pods(REF) == []


def test_a_job_without_its_owner_reference_no_longer_belongs_to_the_training() -> None:
    cache = filled()
    assert cache.apply(JOBS, newer(job(ownerReferences=[]))) == {TREES}
    assert cache.jobs(REF) == []
    assert cache.pods(REF) == []
    assert cache.apply(JOBS, newer(job(), 2)) == {TREES}, "and patched back"
    assert [record.pod.uid for record in cache.pods(REF)] == [POD_UID]


def test_a_pod_that_comes_before_its_job_counts_once_the_job_is_seen() -> None:
    cache = Cache()
    cache.apply(TRAININGS, stored_training())
    assert not cache.apply(PODS, pod())
    assert cache.pods(REF) == []
    assert cache.apply(JOBS, job()) == {TREES}
    assert [record.pod.uid for record in cache.pods(REF)] == [POD_UID]


def test_a_pod_that_outlives_its_job_counts_where_the_status_names_the_job() -> None:
    cache = Cache()
    cache.apply(PODS, pod())
    cache.apply(TRAININGS, stored_training(status=attempt_status()))
    assert cache.pods(REF) == [], "nothing proves it"
    recorded = stored_training(status=attempt_status(jobUID=JOB_UID))
    assert cache.apply(TRAININGS, newer(recorded)) == {TREES}
    assert [record.pod.uid for record in cache.pods(REF)] == [POD_UID]


def test_the_owner_of_a_job_is_forgotten_with_its_last_pod_once_another_attempt_follows() -> None:
    cache = filled()
    cache.delete(JOBS, newer(job()))
    cache.apply(TRAININGS, newer(stored_training(status=attempt_status(jobUID=JOB_UID)), 500))
    cache.delete(PODS, newer(pod()))
    cache.drop_ended_orphans([POD_UID])
    cache.drop_past_orphans()
    assert cache.apply(PODS, pod(uid="late")) == {TREES}, "the attempt is the current one"
    cache.apply(TRAININGS, newer(stored_training(status=attempt_status(2)), 600))
    cache.delete(PODS, newer(pod(uid="late")))
    cache.drop_past_orphans()
    assert not cache.apply(PODS, pod(uid="later"))
