"""Limits and edits, from what people apply to what becomes of Jobs and status on a real server."""

import json

import pytest

from sandbox.site.kube import Object, condition
from tests.support.cluster.operator_fixtures import Scene, ended, last_word, report, saved
from tests.support.cluster.running_operator import RunningOperator

ELSEWHERE = {"nodeSelector": {"detectiontraining.dev/no-such-node": "there"}}
LARGER = {"requests": {"cpu": "2", "memory": "3Gi"}}
EDITED = {"image": "trainer:next", "podTemplate": ELSEWHERE, "resources": LARGER}


def job_of(scene: Scene, attempt: int) -> Object:
    [job] = [
        job
        for job in scene.kube.items(scene.collection("jobs"))
        if job["metadata"]["name"].endswith(f"-{attempt}")
    ]
    return job


def assert_edited(scene: Scene, pod: Object) -> None:
    """Check that a pod fits EDITED."""
    [container] = pod["spec"]["containers"]
    assert container["image"] == "trainer:next"
    assert container["resources"]["requests"] == LARGER["requests"]
    assert pod["spec"]["nodeSelector"] == ELSEWHERE["nodeSelector"]
    assert scene.training()["status"]["currentAttempt"]["image"] == "trainer:next"


def test_a_deadline_ends_the_attempt_and_a_raised_one_resumes_it(
    operator: RunningOperator, scene: Scene
) -> None:
    scene.start(operator)
    # Its container has run since the day in `run_pod`. Set earlier, the deadline could end the
    # attempt before the checkpoint is reported.
    scene.kube.patch(scene.path(), {"spec": {"activeDeadlineSeconds": 60}})
    failed = scene.wait(lambda s: s["phase"] == "Failed", "past its deadline")
    stalled = condition(failed, "Stalled")
    assert stalled["reason"] == "DeadlineExceeded"
    assert "activeDeadlineSeconds (60 s)" in stalled["message"]
    assert "step 40" in stalled["message"]
    assert scene.jobs() == [], "its Job was deleted so that it ends"
    spent = failed["status"]["activeSeconds"]
    scene.kube.patch(scene.path(), {"spec": {"activeDeadlineSeconds": spent + 10**6}})
    scene.wait_attempt(2)
    assert scene.training()["status"]["currentAttempt"]["startStep"] == 40


def test_a_time_to_live_deletes_the_job_and_keeps_the_status(
    operator: RunningOperator, scene: Scene
) -> None:
    pod = scene.start(operator, ttlSecondsAfterFinished=1)
    body = report(100, 2, **saved(100), **ended(0, "Completed"))
    assert operator.report(scene.namespace, "trees", scene.token(pod), body)[0] == 200
    job_name = job_of(scene, 1)["metadata"]["name"]
    scene.end_pod(pod, 0)
    scene.wait(lambda s: s["phase"] == "Complete", "complete")
    path = f"{scene.collection('jobs')}/{job_name}"
    scene.kube.wait(path, lambda found: found is None, what="the Job is gone")
    status = scene.training()["status"]
    assert (status["phase"], status["step"]) == ("Complete", 100)
    assert status["latestCheckpoint"]["step"] == 100


def test_steps_that_are_lowered_below_the_newest_end_it_there(
    operator: RunningOperator, scene: Scene
) -> None:
    scene.start(operator)
    scene.kube.patch(scene.path(), {"spec": {"steps": 30}})
    complete = scene.wait(lambda s: s["phase"] == "Complete", "complete")
    assert condition(complete, "Complete")["reason"] == "TargetReached"
    assert complete["status"]["step"] == 40
    # Its pod, which no kubelet runs, ended without a termination message.
    [interruption] = complete["status"]["interruptions"]
    assert (interruption["reason"], interruption["lastReportedStep"]) == ("StepsLowered", 40)
    assert scene.jobs() == []


def test_a_suspended_training_resumes_with_its_edited_spec(
    operator: RunningOperator, scene: Scene
) -> None:
    scene.start(operator)
    scene.kube.patch(scene.path(), {"spec": {"suspend": True}})
    scene.wait(lambda s: s["phase"] == "Suspended", "suspended")
    scene.kube.patch(scene.path(), {"spec": EDITED})
    seen = scene.wait(lambda s: s.get("observedGeneration") == 3, "its edit was seen")
    assert seen["status"]["phase"] == "Suspended"
    assert scene.jobs() == []
    scene.kube.patch(scene.path(), {"spec": {"suspend": False}})
    assert_edited(scene, scene.wait_attempt(2))


def test_a_failed_training_resumes_with_its_corrected_spec(
    operator: RunningOperator, scene: Scene
) -> None:
    pod = scene.start(operator)
    scene.end_pod(pod, 52, last_word(52, "DataInvalid", "train-0.tfrecord is cut short"))
    scene.wait(lambda s: s["phase"] == "Failed", "failed")
    scene.kube.patch(scene.path(), {"spec": EDITED})
    assert_edited(scene, scene.wait_attempt(2))
    assert job_of(scene, 1)["metadata"]["name"] != job_of(scene, 2)["metadata"]["name"]


@pytest.mark.parametrize("field", ["image", "podTemplate", "resources"])
def test_an_edit_during_an_attempt_is_pending_and_reported(
    operator: RunningOperator, scene: Scene, field: str
) -> None:
    scene.start(operator)
    [job] = scene.jobs()
    scene.kube.patch(scene.path(), {"spec": {field: EDITED[field]}})
    seen = scene.wait(lambda s: bool(s.get("pendingChanges")), "the edit is reported as pending")
    assert seen["status"]["pendingChanges"] == ["spec"]
    assert scene.jobs() == [job], json.dumps(seen["status"])
