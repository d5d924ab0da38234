"""A training made of a pipeline.config: what its pod is given, and what a later change does."""

import json

from sandbox.kube import Object, condition
from tests.support.operator_fixtures import Scene
from tests.support.pipeline_configs import config_text
from tests.support.running_operator import RunningOperator

NOT_SAID: Object = {"model": None, "dataset": None, "steps": None, "batchSize": None}


def trained_steps(scene: Scene) -> int:
    pod = scene.wait_attempt(1)
    document = json.loads(pod["metadata"]["annotations"]["detectiontraining.dev/document"])
    assert "pipelineConfig" not in document["spec"]
    assert document["spec"]["model"]["backbone"] == "resnet50_v1"
    assert document["spec"]["batchSize"] == 8, "not the default that the API server filled in"
    return int(document["spec"]["steps"])


def test_an_inline_one_is_trained(operator: RunningOperator, scene: Scene) -> None:
    del operator
    scene.apply(**NOT_SAID, preflight="Never", pipelineConfig={"inline": config_text()})
    assert trained_steps(scene) == 25000


def test_one_that_cannot_be_had_is_refused_without_a_pod(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    text = config_text("centernet_hourglass")
    scene.apply(**NOT_SAID, pipelineConfig={"inline": text})
    found = scene.wait(lambda s: s.get("phase") == "Refused", "refused")
    assert "center_net is not supported" in (condition(found, "Ready") or {})["message"]
    assert scene.jobs() == []


def test_a_config_map_is_waited_for_and_what_it_said_at_the_start_is_kept(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    reference = {"configMapKeyRef": {"name": "trees"}}
    scene.apply(**NOT_SAID, preflight="Never", pipelineConfig=reference)
    found = scene.wait(lambda s: s.get("phase") == "Refused", "refused")
    assert "there is no ConfigMap 'trees'" in (condition(found, "Ready") or {})["message"]
    maps = scene.collection("configmaps")
    data = {"pipeline.config": config_text()}
    scene.kube.create(maps, {"metadata": {"name": "trees"}, "data": data})
    assert trained_steps(scene) == 25000
    changed = {"pipeline.config": config_text().replace("num_steps: 25000", "num_steps: 3")}
    scene.kube.patch(f"{maps}/trees", {"data": changed})
    scene.kube.patch(scene.path(), {"spec": {"retryPolicy": {"maxRetries": 1}}})
    found = scene.wait(lambda s: s["observedGeneration"] == 2, "looked at again")
    assert found["status"]["targetSteps"] == 25000
    assert found["status"]["pipelineConfig"]["text"] == config_text()
