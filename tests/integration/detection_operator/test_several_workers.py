"""Several workers on a real API server: their policy, and a switch that is turned off meanwhile."""

from pathlib import Path

from detection_operator import names
from sandbox.site.kube import Object, condition
from tests.support.cluster.operator_fixtures import Scene, environment
from tests.support.cluster.running_operator import RunningOperator

POLICIES = "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies"


def operator_of(scene: Scene, kubeconfig: Path | None, *, allows: bool) -> RunningOperator:
    """Return an operator that allows several workers or not."""
    settings = environment(scene.namespace, kubeconfig, SEVERAL_WORKERS=str(allows).lower())
    return RunningOperator(settings)


def start_attempt(scene: Scene, number: int) -> list[Object]:
    """Let the pods of attempt `number` run once they are there; return them."""
    status = scene.wait(
        lambda status: (status.get("currentAttempt") or {}).get("number") == number,
        f"attempt {number} is on record",
    )["status"]
    job = scene.kube.wait(
        f"{scene.collection('jobs')}/{status['currentAttempt']['jobName']}",
        lambda found: found is not None and (found.get("status") or {}).get("active") == 2,
        what="the Job has two pods",
    )
    pods = scene.pods(job["metadata"]["uid"])
    for pod in pods:
        scene.run_pod(pod)
    return pods


def test_an_unchanged_policy_is_kept_and_a_changed_one_restored(
    scene: Scene, kubeconfig: Path | None
) -> None:
    with operator_of(scene, kubeconfig, allows=True):
        uid = scene.apply(workers=2)["metadata"]["uid"]
        pods = start_attempt(scene, 1)
        path = f"{POLICIES.format(scene.namespace)}/{names.workers_name(uid)}"
        made = scene.kube.get(path)
        assert "NetworkPolicyReset" not in scene.events(), "the API server returns what was built"
        scene.end_pod(pods[1], 1)
        pods = start_attempt(scene, 2)
        assert scene.kube.get(path)["metadata"] == made["metadata"], "not even written"
        scene.kube.patch(path, {"spec": {"ingress": [{}]}})
        scene.end_pod(pods[1], 1)
        start_attempt(scene, 3)
        restored = scene.kube.get(path)
        assert restored["metadata"]["uid"] == made["metadata"]["uid"]
        assert restored["spec"] == made["spec"]
        scene.wait_event("NetworkPolicyReset")


def test_an_attempt_that_runs_while_several_workers_are_disabled_is_the_last(
    scene: Scene, kubeconfig: Path | None
) -> None:
    with operator_of(scene, kubeconfig, allows=True):
        scene.apply(workers=2)
        pods = start_attempt(scene, 1)
        scene.wait(lambda status: status["phase"] == "Starting", "the attempt runs")
    [job_name] = scene.jobs()
    with operator_of(scene, kubeconfig, allows=False):
        scene.kube.patch(scene.path(), {"spec": {"checkpoints": {"everySteps": 7}}})
        scene.wait(lambda status: status["observedGeneration"] == 2, "the operator has looked")
        assert scene.training()["status"]["phase"] == "Starting"
        job = scene.kube.get(f"{scene.collection('jobs')}/{job_name}")
        left = scene.pods(job["metadata"]["uid"])
        assert not [pod for pod in left if "deletionTimestamp" in pod["metadata"]]
        scene.end_pod(pods[1], 1)
        found = scene.wait(lambda status: status["phase"] == "Refused", "refused")
        assert condition(found, "Stalled")["reason"] == "SeveralWorkersDisabled"
        assert scene.jobs() == [job_name]
    with operator_of(scene, kubeconfig, allows=True):
        start_attempt(scene, 2)
