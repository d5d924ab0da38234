"""Reports of trainers' pods, with the tokens that a real API server signs."""

import json
from typing import Any

import pytest

from tests.support.cluster.operator_fixtures import Scene, ended, report, saved
from tests.support.cluster.running_operator import RunningOperator
from tests.support.operator.tokens import Signer

Object = dict[str, Any]
RESULTS = 'detection_operator_reports_total{{result="{}"}}'


def test_a_run_is_reported_from_its_first_step_to_its_final_report(
    operator: RunningOperator, scene: Scene
) -> None:
    scene.apply()
    pod = scene.wait_attempt(1)
    scene.run_pod(pod)
    token = scene.token(pod)

    def post(step: int, sequence: int, **more: Any) -> Object:
        status, answer = operator.report(
            scene.namespace, "trees", token, report(step, sequence, **more)
        )
        assert status == 200, answer
        return answer

    assert post(0, 1, **saved(0))["written"]
    scene.wait(lambda s: s["phase"] == "Running", "running")
    assert post(50, 2, **saved(50, 0))["written"]
    status = scene.training()["status"]
    assert (status["step"], status["latestCheckpoint"]["step"]) == (50, 50)
    assert not post(51, 3)["written"], "progress waits for its time"
    scene.wait(lambda s: s["step"] == 51, "progress came within the interval")
    last = post(100, 4, **saved(100, 50, 0), **ended(0, "Completed"))
    assert not last["written"], "it waits for the pod's end"
    scene.end_pod(pod, 0)
    done = scene.wait(lambda s: s["phase"] == "Complete", "complete")
    assert done["status"]["completionTime"]
    assert done["status"]["step"] == 100
    scene.kube.wait(
        f"{scene.collection('pods')}/{pod['metadata']['name']}",
        lambda found: found is None or "deletionTimestamp" not in found["metadata"],
        what="the finished pod is left alone",
    )
    scene.wait_event("TargetReached")
    assert scene.events() == ["TargetReached"]


def test_no_other_pod_may_report(operator: RunningOperator, scene: Scene) -> None:
    scene.apply()
    scene.apply("other")
    pod, other = scene.wait_attempt(1), scene.wait_attempt(1, "other")
    stranger = scene.kube.create(scene.collection("pods"), stranger_pod())
    before = scene.training()["metadata"]["resourceVersion"]
    attempts: list[tuple[str, int, str]] = [
        ("", 401, "no_token"),
        ("hello", 401, "malformed"),
        (Signer().sign(), 401, "unknown_key"),
        (scene.token(pod, audience="https://kubernetes.default.svc"), 401, "audience"),
        (scene.token(None), 401, "not_bound"),
        (scene.token(other), 403, "other_training"),
        (scene.token(stranger), 403, "other_training"),
    ]
    for token, expected, reason in attempts:
        counted = operator.metric(RESULTS.format(reason))
        status, answer = operator.report(scene.namespace, "trees", token, report(1, 1))
        assert (status, answer["reason"]) == (expected, reason)
        assert operator.metric(RESULTS.format(reason)) == counted + 1
    status, answer = operator.report("default", "trees", scene.token(pod), report(1, 1))
    assert (status, answer["reason"]) == (403, "other_namespace")
    assert "step" not in (scene.training()["status"].get("progress") or {})
    assert scene.training()["status"]["step"] == 0
    assert int(scene.training()["metadata"]["resourceVersion"]) >= int(before)


def stranger_pod() -> Object:
    """Return a pod that has nothing to do with any training."""
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "metadata": {"name": "stranger"},
        "spec": {
            "nodeSelector": {"no": "where"},
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{"name": "trainer", "image": "x", "securityContext": secure}],
        },
    }


def test_the_token_of_a_deleted_pod_is_dead(operator: RunningOperator, scene: Scene) -> None:
    scene.apply()
    pod = scene.wait_attempt(1)
    token = scene.token(pod)
    assert operator.report(scene.namespace, "trees", token, report(1, 1))[0] == 200
    scene.kube.delete(f"{scene.collection('pods')}/{pod['metadata']['name']}", grace_s=0)
    scene.wait(lambda s: s["attemptCount"] == 2, "another attempt follows")
    operator.wait_until(
        lambda: operator.report(scene.namespace, "trees", token, report(2, 2))[0] == 403,
        "refusing a deleted pod's token",
    )
    assert operator.metric(RESULTS.format("pod_gone")) >= 1


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(report(1, 1, progress={"loss": float("nan")})).encode(),
        b"not JSON",
        b'{"attempt": 1, "colour": "green"}',
    ],
    ids=["NaN", "no JSON", "unknown fields"],
)
def test_what_does_not_hold_never_reaches_the_api(
    operator: RunningOperator, scene: Scene, body: bytes
) -> None:
    scene.apply()
    token = scene.token(scene.wait_attempt(1))
    status, answer = operator.report(scene.namespace, "trees", token, body)
    assert (status, answer["reason"]) == (422, "invalid")
    assert answer["message"].startswith("the report is invalid: ")
    assert "progress" not in scene.training()["status"]
    assert operator.metric(RESULTS.format("invalid")) == 1
