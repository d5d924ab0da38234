"""A training made of a pipeline.config: what its pod is given, and what a later change does."""

import json

from detection_trainer.contract.packing import pack
from sandbox.site.kube import Object, condition
from tests.support.cluster.operator_fixtures import Scene, last_word
from tests.support.cluster.running_operator import RunningOperator
from tests.support.trainer.pipeline_configs import config_text

UNSET: Object = {"model": None, "dataset": None, "steps": None, "batchSize": None}


def trained_steps(scene: Scene) -> int:
    pod = scene.wait_attempt(1)
    document = json.loads(pod["metadata"]["annotations"]["detectiontraining.dev/document"])
    assert "pipelineConfig" not in document["spec"]
    assert document["spec"]["model"]["backbone"] == "resnet50_v1"
    assert document["spec"]["batchSize"] == 8, "not the default that the API server filled in"
    return int(document["spec"]["steps"])


def test_an_inline_one_is_trained(operator: RunningOperator, scene: Scene) -> None:
    del operator
    scene.apply(**UNSET, preflight="Never", pipelineConfig={"inline": config_text()})
    assert trained_steps(scene) == 25000


def test_one_that_cannot_be_had_is_refused_without_a_pod(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    text = config_text("centernet_hourglass")
    scene.apply(**UNSET, pipelineConfig={"inline": text})
    found = scene.wait(lambda s: s.get("phase") == "Refused", "refused")
    assert "center_net is not supported" in (condition(found, "Ready") or {})["message"]
    assert scene.jobs() == []


def test_a_config_map_is_waited_for_and_its_text_at_the_start_is_kept(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    reference = {"configMapKeyRef": {"name": "trees"}}
    scene.apply(**UNSET, preflight="Never", pipelineConfig=reference)
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


def test_one_at_a_uri_is_read_by_the_check_and_never_again(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    scene.apply(**UNSET, pipelineConfig={"uri": "s3://models/pipeline.config"})
    pod = wait_check(scene, 1)
    document = json.loads(pod["metadata"]["annotations"]["detectiontraining.dev/document"])
    assert document["spec"]["pipelineConfig"] == {"uri": "s3://models/pipeline.config"}
    assert not document["spec"].keys() & UNSET.keys()
    scene.end_pod(pod, 0, last_word(0, "Completed", pipelineConfig=pack(config_text())))
    assert trained_steps(scene) == 25000
    status = scene.training()["status"]
    assert status["pipelineConfig"]["text"] == config_text()
    assert status["pipelineConfig"]["uri"] == "s3://models/pipeline.config"
    assert status["targetSteps"] == 25000
    scene.kube.patch(scene.path(), {"spec": {"retryPolicy": {"maxRetries": 1}}})
    status = scene.wait(lambda s: s["observedGeneration"] == 2, "looked at again")["status"]
    assert status["pipelineConfig"]["text"] == config_text()
    assert len(scene.jobs()) == 2, "one check and one attempt"


def test_one_at_a_uri_that_is_refused_is_read_again_once_the_spec_changes(
    operator: RunningOperator, scene: Scene
) -> None:
    del operator
    scene.apply(**UNSET, pipelineConfig={"uri": "s3://models/missing.config"})
    missing = "s3://models/missing.config does not exist: check the address"
    scene.end_pod(wait_check(scene, 1), 56, last_word(56, "NotFound", missing))
    found = scene.wait(lambda s: s.get("phase") == "Refused", "refused")
    stalled = condition(found, "Stalled") or {}
    assert (stalled["reason"], stalled["status"]) == ("NotFound", "True")
    assert missing in stalled["message"]
    assert "pipelineConfig" not in found["status"]
    corrected = {"pipelineConfig": {"uri": "s3://models/pipeline.config"}}
    scene.kube.patch(scene.path(), {"spec": corrected})
    pod = wait_check(scene, 2)
    scene.end_pod(pod, 0, last_word(0, "Completed", pipelineConfig=pack(config_text())))
    assert trained_steps(scene) == 25000


def wait_check(scene: Scene, generation: int) -> Object:
    """Wait until the check of this generation has a pod; return the pod."""
    status = scene.wait(
        lambda s: (s.get("preflight") or {}).get("generation") == generation,
        f"the check of generation {generation} is on record",
    )["status"]
    return scene.wait_pod(status["preflight"]["jobName"])
