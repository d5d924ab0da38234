"""A training is applied: what the operator makes of it, and what it leaves alone."""

import json

from sandbox.site.kube import condition
from tests.support.cluster.operator_fixtures import Scene
from tests.support.cluster.running_operator import RunningOperator


def test_an_applied_training_has_a_job_whose_pod_has_its_document(
    operator: RunningOperator, scene: Scene
) -> None:
    applied = scene.apply()
    pod = scene.wait_attempt(1)
    uid = applied["metadata"]["uid"]
    name = f"trees-{uid[:8]}-1"
    job = scene.kube.get(f"{scene.collection('jobs')}/{name}")
    [owner] = job["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (uid, True)
    assert job["spec"]["backoffLimit"] == 0
    assert pod["spec"]["containers"][0]["image"] == "detection-trainer:none"
    document = json.loads(pod["metadata"]["annotations"]["detectiontraining.dev/document"])
    assert document["spec"]["steps"] == 100
    status = scene.wait(lambda s: s["phase"] == "Queued", "queued")["status"]
    assert condition({"status": status}, "Ready")["status"] == "True"
    assert status["observedGeneration"] == 1
    assert operator.metric('detection_operator_reconcile_errors_total{reason="Conflict"}') == 0


def test_a_job_that_a_quota_refuses_is_reported_and_created_once_there_is_room(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    quotas = scene.collection("resourcequotas")
    none = {"count/jobs.batch": "0"}
    scene.kube.create(quotas, {"metadata": {"name": "no-jobs"}, "spec": {"hard": none}})
    scene.apply()

    def is_reported(status: dict[str, object]) -> bool:
        ready = condition({"status": status}, "Ready") or {}
        return ready.get("reason") == "JobRejected" and "no-jobs" in ready["message"]

    found = scene.wait(is_reported, "the quota is reported")
    assert found["status"]["phase"] == "Queued"
    assert scene.jobs() == []
    scene.wait_event("JobRejected")
    scene.kube.delete(f"{quotas}/no-jobs")
    scene.wait_attempt(1)
    scene.wait(lambda s: not is_reported(s), "no longer reported")


def test_a_name_that_another_job_has_is_reported_and_used_once_it_is_free(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    uid = scene.apply(suspend=True)["metadata"]["uid"]
    name = f"trees-{uid[:8]}-1"
    template = {"restartPolicy": "Never", "containers": [{"name": "other", "image": "other:none"}]}
    scene.kube.create(
        scene.collection("jobs"),
        {"metadata": {"name": name}, "spec": {"suspend": True, "template": {"spec": template}}},
    )
    scene.kube.patch(scene.path(), {"spec": {"suspend": False}})

    def is_reported(status: dict[str, object]) -> bool:
        ready = condition({"status": status}, "Ready") or {}
        return ready.get("reason") == "NameTaken" and name in ready["message"]

    scene.wait(is_reported, "the name is reported")
    scene.wait_event("NameTaken")
    found = scene.kube.get(f"{scene.collection('jobs')}/{name}")
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "other:none", "left alone"
    scene.kube.delete(f"{scene.collection('jobs')}/{name}")
    scene.wait_attempt(1)
    scene.wait(lambda s: not is_reported(s), "no longer reported")


def test_the_users_resource_is_left_as_it_was(operator: RunningOperator, scene: Scene) -> None:
    del operator
    applied = scene.apply()
    scene.wait_attempt(1)
    found = scene.training()
    for part in ("annotations", "labels", "finalizers", "ownerReferences"):
        assert found["metadata"].get(part) == applied["metadata"].get(part)
    assert found["spec"] == applied["spec"]
    assert found["metadata"]["generation"] == 1
    writers = {entry.get("subresource") for entry in found["metadata"]["managedFields"]}
    assert writers == {None, "status"}


def test_a_training_at_rest_is_not_written_to(operator: RunningOperator, scene: Scene) -> None:
    scene.apply()
    scene.wait_attempt(1)
    scene.wait(
        lambda s: "Unschedulable" in json.dumps(s["conditions"]), "reported as unschedulable"
    )
    before = scene.training()["metadata"]["resourceVersion"]
    reconciles = operator.metric("detection_operator_reconcile_duration_seconds_count")
    other = scene.apply("other")
    scene.wait_attempt(1, "other")
    assert other["metadata"]["uid"]
    assert operator.metric("detection_operator_reconcile_duration_seconds_count") > reconciles
    assert scene.training()["metadata"]["resourceVersion"] == before


def test_the_training_is_measured(operator: RunningOperator, scene: Scene) -> None:
    scene.apply()
    scene.wait_attempt(1)
    place = f'{{name="trees",namespace="{scene.namespace}"}}'
    assert operator.metric(f"detection_training_target_steps{place}") == 100
    scene.kube.delete(scene.path())
    operator.wait_until(
        lambda: "detection_training_step{" not in operator.get("/metrics")[1],
        "rid of the training's metrics",
    )


def test_the_objects_of_a_deleted_training_are_deleted_with_it(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    scene.apply()
    pod = scene.wait_attempt(1)
    [job] = scene.jobs()
    scene.kube.delete(scene.path())
    for path in (
        f"{scene.collection('jobs')}/{job}",
        f"{scene.collection('pods')}/{pod['metadata']['name']}",
    ):
        scene.kube.wait(path, lambda found: found is None, what=f"{path} is gone")


def test_a_write_in_between_costs_only_a_retry(operator: RunningOperator, scene: Scene) -> None:
    del operator
    for number in range(5):
        scene.apply(f"t{number}")
        for change in range(5):
            label = {"metadata": {"labels": {"changed": str(change)}}}
            scene.kube.patch(scene.path(f"t{number}"), label)
    for number in range(5):
        scene.wait_attempt(1, f"t{number}")
    assert len(scene.jobs()) == 5
    assert {scene.training(f"t{n}")["status"]["attemptCount"] for n in range(5)} == {1}


def test_a_source_that_appears_wakes_the_trainings_that_wait_for_it(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    restore = {"mode": "detection", "from": {"trainingRef": {"name": "coco"}}}
    scene.apply(restore=restore)
    waiting = scene.wait(lambda s: s.get("phase") == "Pending" and "conditions" in s, "waiting")
    assert "create it, or correct trainingRef.name" in condition(waiting, "Ready")["message"]
    scene.apply("coco")
    scene.wait(
        lambda s: "has a checkpoint" in condition({"status": s}, "Ready")["message"],
        "waiting for a checkpoint of its source",
    )
