"""The cache: order of events, indexes, what is kept of what is deleted."""

from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key
from detection_operator.cluster.observe.cache import REMEMBERED_DELETIONS, Cache
from detection_operator.cluster.observe.packing import unpack
from detection_operator.cluster.observe.records import Version
from detection_operator.core.state import PodPhase
from tests.support.cluster_objects import (
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
    assert [record.job.name for record in cache.jobs(UID)] == ["trees-5f2c8a1b-1"]
    assert [record.pod.uid for record in cache.pods(UID)] == [POD_UID]


def test_an_older_state_never_replaces_a_newer_one() -> None:
    cache = filled()
    late = job(status={"conditions": [{"type": "Complete", "status": "True"}]})
    assert cache.apply(JOBS, newer(late)) == {TREES}
    assert not cache.apply(JOBS, job()), "an event that comes late, or twice"
    assert cache.jobs(UID)[0].job.complete
    assert not cache.apply(TRAININGS, stored_training())
    assert not cache.apply(PODS, pod())


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    assert Version("a", "x1").is_before(Version("a", "x0"))
    assert not Version("a", "x1").is_before(Version("a", "x1"))
    assert Version("a", "9").is_before(Version("b", "10"))


def test_what_is_deleted_does_not_come_back_by_a_late_answer() -> None:
    cache = filled()
    assert cache.delete(JOBS, newer(job())) == {TREES}
    assert not cache.apply(JOBS, newer(job(), 5))
    assert cache.jobs(UID) == []


def test_a_deleted_pod_keeps_its_last_word_while_its_job_is_there() -> None:
    cache = filled()
    last = pod(status=container_status(terminated={"exitCode": 75}))
    assert cache.delete(PODS, newer(last)) == {TREES}
    [record] = cache.pods(UID)
    assert record.gone
    assert record.pod.gone
    assert record.pod.termination is not None
    assert record.pod.phase is PodPhase.FAILED
    assert not cache.forget(PODS, POD_UID), "a second word of its end says nothing new"
    assert not cache.drop_ended_orphans([POD_UID]), "its Job is there"
    cache.delete(JOBS, newer(job()))
    assert cache.drop_ended_orphans([POD_UID])
    assert cache.pods(UID) == []


def test_a_replica_that_does_not_lead_forgets_the_pods_of_past_attempts() -> None:
    cache = filled()
    cache.apply(TRAININGS, newer(stored_training(status=attempt_status(1)), 500))
    cache.delete(PODS, newer(pod()))
    cache.delete(JOBS, newer(job()))
    cache.drop_past_orphans()
    assert cache.pods(UID), "it may lead next, and has to know how the attempt ended"
    cache.apply(TRAININGS, newer(stored_training(status=attempt_status(2)), 600))
    cache.drop_past_orphans()
    assert cache.pods(UID) == []


def test_a_pod_that_completed_before_it_was_deleted_stays_succeeded() -> None:
    cache = filled()
    cache.delete(PODS, newer(pod(status={"phase": "Succeeded"})))
    assert cache.pods(UID)[0].pod.phase is PodPhase.SUCCEEDED


def test_a_training_takes_the_memory_of_its_pods_along() -> None:
    cache = filled()
    cache.forget(PODS, POD_UID)
    assert cache.forget(TRAININGS, UID) == {TREES}
    assert cache.pods(UID) == []
    assert cache.training(TREES) is None
    assert not cache.forget(TRAININGS, UID)
    assert cache.forget(JOBS, JOB_UID) == {TREES}
    assert not cache.forget(JOBS, JOB_UID)


def test_pods_of_a_training_that_is_gone_are_not_remembered() -> None:
    cache = filled()
    cache.forget(TRAININGS, UID)
    assert not cache.forget(PODS, POD_UID)
    assert cache.pod(POD_UID) is None
    assert not cache.forget(PODS, "never-heard-of")


def test_a_training_made_anew_under_its_name_replaces_the_old_one() -> None:
    cache = filled()
    anew = newer(stored_training(uid="uid-2"), 100)
    assert cache.apply(TRAININGS, anew) == {TREES}
    assert not cache.forget(TRAININGS, UID), "the late deletion of the old one"
    record = cache.training(TREES)
    assert record is not None
    assert record.version.uid == "uid-2"


def test_objects_of_strangers_are_not_taken_in() -> None:
    cache = Cache()
    stranger = job(ownerReferences=[])
    assert not cache.apply(JOBS, stranger)
    assert not cache.apply(PODS, pod(ownerReferences=[]))
    assert not cache.apply(PODS, pod(labels={}))
    assert cache.versions(JOBS) == {}
    assert cache.versions(PODS) == {}


def test_a_change_of_the_source_concerns_those_who_wait_for_it() -> None:
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


def test_those_who_share_a_folder_are_told_of_each_other() -> None:
    cache = Cache()
    storage = {"storage": {"uri": "s3://runs/one"}}
    cache.apply(TRAININGS, stored_training(checkpoints=storage))
    other = stored_training(
        "birds", uid="uid-birds", checkpoints={"storage": {"uri": "s3://runs/one/"}}
    )
    other["metadata"]["creationTimestamp"] = "2026-11-24T09:00:00Z"
    assert cache.apply(TRAININGS, other) == {TREES, Key("vision", "birds")}
    assert [r.key.name for r in cache.sharing("s3://runs/one")] == ["birds", "trees"]
    assert cache.forget(TRAININGS, "uid-birds") == {TREES, Key("vision", "birds")}
    assert [r.key.name for r in cache.sharing("s3://runs/one")] == ["trees"]


def test_claims_are_folders_of_their_namespace() -> None:
    cache = Cache()
    made = stored_training(checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}})
    cache.apply(TRAININGS, made)
    assert cache.sharing("claim://vision/trees-checkpoints")
    given = stored_training(
        "birds", uid="b", checkpoints={"storage": {"volumeClaim": {"claimName": "disk"}}}
    )
    cache.apply(TRAININGS, given)
    assert cache.sharing("claim://vision/disk")
    nothing = stored_training("odd", uid="o", checkpoints={})
    cache.apply(TRAININGS, nothing)
    assert cache.sharing("") == []


def test_deletions_are_remembered_for_a_while_only() -> None:
    cache = Cache()
    cache.forget(PODS, "first")
    for number in range(REMEMBERED_DELETIONS):
        cache.forget(PODS, f"uid-{number}")
    cache.apply(TRAININGS, stored_training())
    assert cache.apply(PODS, pod(uid="first")) == {TREES}
    assert not cache.apply(PODS, pod(uid="uid-7"))


def test_a_record_tells_what_metrics_ask_for() -> None:
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


def test_who_waits_is_looked_at_first_and_who_has_ended_last() -> None:
    cache = Cache()
    phases = {"done": "Complete", "runs": "Running", "failed": "Failed", "new": None}
    for number, (name, phase) in enumerate(phases.items()):
        status = {"phase": phase} if phase else None
        cache.apply(TRAININGS, stored_training(name, f"uid-{number}", status))
    names = [key.name for key in cache.training_keys()]
    assert names == ["new", "runs", "done", "failed"]
