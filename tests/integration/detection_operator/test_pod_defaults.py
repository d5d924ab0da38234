"""An administrator's defaults for trainers' pods, and what a change of them does not do."""

import json
from pathlib import Path
from typing import Any

from tests.support.cluster.operator_fixtures import NOWHERE, Scene, environment, report, saved
from tests.support.cluster.running_operator import RunningOperator


def settings(scene: Scene, kubeconfig: Path | None, **defaults: Any) -> dict[str, str]:
    return environment(scene.namespace, kubeconfig, POD_DEFAULTS=json.dumps(defaults))


def test_new_defaults_apply_to_the_next_attempt_and_restart_nothing(
    scene: Scene, kubeconfig: Path | None
) -> None:
    spot = {"key": "spot", "operator": "Exists"}
    before = settings(
        scene,
        kubeconfig,
        podLabels={"team": "ml", "stage": "test"},
        tolerations=[spot],
        env=[{"name": "TZ", "value": "UTC"}, {"name": "A", "value": "default"}],
    )
    with RunningOperator(before) as operator:
        template = {**NOWHERE, "labels": {"stage": "own"}, "env": [{"name": "A", "value": "own"}]}
        pod = scene.start(operator, podTemplate=template)
        assert pod["metadata"]["labels"]["team"] == "ml"
        assert pod["metadata"]["labels"]["stage"] == "own"
        assert spot in pod["spec"]["tolerations"]
        [container] = pod["spec"]["containers"]
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert (variables["TZ"], variables["A"]) == ("UTC", "own")
        spec, jobs = scene.training()["spec"], scene.jobs()
    with RunningOperator(settings(scene, kubeconfig, podLabels={"team": "vision"})) as operator:
        progress = report(50, 2, **saved(40, 50))
        assert operator.report(scene.namespace, "trees", scene.token(pod), progress)[0] == 200
        found = scene.training()
        assert found["spec"] == spec
        assert (found["status"]["step"], found["status"]["attemptCount"]) == (50, 1)
        assert not found["status"].get("pendingChanges")
        assert scene.jobs() == jobs
        scene.kube.delete(f"{scene.collection('jobs')}/{jobs[0]}")
        following = scene.wait_attempt(2)
        assert following["metadata"]["labels"]["team"] == "vision"
        assert following["metadata"]["labels"]["stage"] == "own"


def test_a_preflight_has_the_defaults_too(scene: Scene, kubeconfig: Path | None) -> None:
    with RunningOperator(settings(scene, kubeconfig, podAnnotations={"note": "x"})):
        scene.apply(preflight="Always")
        status = scene.wait(lambda s: "preflight" in s, "a preflight is on record")["status"]
        pod = scene.wait_pod(status["preflight"]["jobName"])
        assert pod["metadata"]["annotations"]["note"] == "x"
