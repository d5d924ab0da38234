"""A training in a queue: Job.spec.suspend is the queue's, as Kueue's protocol has it."""

import pytest

from sandbox.samples.trainings import training
from sandbox.site.kube import Object, condition
from tests.support.cluster.operator_fixtures import Scene, report, saved
from tests.support.cluster.queue import LABEL, Queue
from tests.support.cluster.running_operator import RunningOperator

FLAVOR = {"example.com/flavor": "spot"}


@pytest.fixture
def queue(scene: Scene) -> Queue:
    """Return the queue of a training that was applied with its label."""
    document = training("trees")
    document["metadata"]["labels"] = {LABEL: "gpus"}
    scene.kube.create(scene.path("").rstrip("/"), document)
    return Queue(scene.kube, scene.namespace)


def wait_queued(operator: RunningOperator, scene: Scene, queue: Queue, number: int) -> Object:
    """Return the Job of attempt `number`, which waits for its place."""

    def newest() -> Object | None:
        jobs = [job for job in queue.jobs() if job["metadata"]["name"].endswith(f"-{number}")]
        return jobs[0] if jobs else None

    operator.wait_until(lambda: newest() is not None, f"making the Job of attempt {number}")
    scene.wait(
        lambda s: (condition({"status": s}, "Ready") or {}).get("reason") == "Queued",
        "reported to wait in its queue",
    )
    job = newest()
    assert job is not None
    return job


def run(operator: RunningOperator, scene: Scene, attempt: int, resumed: int, step: int) -> Object:
    """Let the pod of an attempt run and report; return the pod."""
    pod = scene.wait_attempt(attempt)
    scene.run_pod(pod)
    body = report(step, 1, attempt=attempt, resumedFromStep=resumed, **saved(step))
    assert operator.report(scene.namespace, "trees", scene.token(pod), body)[0] == 200
    scene.wait(lambda s: s["phase"] == "Running", "running")
    return pod


def test_a_queued_job_waits_is_admitted_preempted_and_admitted_again(
    operator: RunningOperator, scene: Scene, queue: Queue
) -> None:
    job = wait_queued(operator, scene, queue, 1)
    assert job["spec"]["suspend"] is True
    status = scene.training()["status"]
    assert status["phase"] == "Queued"
    assert condition({"status": status}, "Ready")["status"] == "True"
    assert "startedAt" not in status["currentAttempt"]

    queue.admit(job, FLAVOR)
    pod = run(operator, scene, attempt=1, resumed=0, step=40)
    assert pod["spec"]["nodeSelector"] == FLAVOR

    [admitted] = queue.jobs()
    queue.preempt(admitted)
    second = wait_queued(operator, scene, queue, 2)
    assert second["spec"]["suspend"] is True
    [interruption] = scene.training()["status"]["interruptions"]
    assert (interruption["reason"], interruption["lastReportedStep"]) == ("Preempted", 40)

    queue.admit(second, FLAVOR)
    run(operator, scene, attempt=2, resumed=40, step=60)
    [interruption] = scene.training()["status"]["interruptions"]
    assert (interruption["resumedFromStep"], interruption["stepsLost"]) == (40, 0)
    # A Job that stayed in its queue would be admitted again, beside the second.
    operator.wait_until(
        lambda: [job["metadata"]["name"] for job in queue.jobs()] == [second["metadata"]["name"]],
        "leaving only the second Job",
    )


def test_a_place_that_the_queue_withdraws_before_the_start_costs_nothing(
    operator: RunningOperator, scene: Scene, queue: Queue
) -> None:
    admitted = wait_queued(operator, scene, queue, 1)
    for _ in range(2):
        queue.admit(admitted, FLAVOR)
        waiting = scene.wait_attempt(1)
        queue.preempt(admitted)
        path = f"{scene.collection('pods')}/{waiting['metadata']['name']}"
        scene.kube.wait(path, lambda found: found is None, what="the pod is gone")
        again = wait_queued(operator, scene, queue, 1)
        assert again["metadata"]["uid"] == admitted["metadata"]["uid"], "it keeps its place"
    queue.admit(admitted, FLAVOR)
    run(operator, scene, attempt=1, resumed=0, step=40)
    status = scene.training()["status"]
    assert (status["attemptCount"], status.get("interruptionCount", 0)) == (1, 0)
    assert "retries" not in status or status["retries"]["count"] == 0
