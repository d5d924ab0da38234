"""A training that is applied completes in a real TensorFlow pod, and its status reports it."""

import pytest

from detection_trainer.checkpoints.export_manifest import read_export
from detection_trainer.contract.base import dump
from detection_trainer.contract.runtime import DEFAULT_METRICS_PORT
from sandbox.site.kube import Object, condition
from sandbox.site.tools import run
from tests.support.cluster.site import DATASET, LiveTraining, Workspace, dataset

STEPS = 60


@pytest.fixture(scope="module")
def training(shared_workspace: Workspace) -> LiveTraining:
    made = shared_workspace.train(
        "shapes",
        steps=STEPS,
        checkpoints={"everySteps": 20},
        exports=["SavedModel"],
        dataset=dataset(
            classes=None,
            labelMap={"uri": f"{DATASET}/label_map.pbtxt"},
            validation={"uri": f"{DATASET}/validation-*.tfrecord"},
        ),
    )
    made.wait_for_phase("Complete")
    return made


@pytest.fixture(scope="module")
def status(training: LiveTraining) -> Object:
    return training.status


def test_the_target_is_reached_in_one_attempt(status: Object) -> None:
    assert (status["step"], status["targetSteps"]) == (STEPS, STEPS)
    assert status["attemptCount"] == 1
    assert status.get("interruptions", []) == []
    assert status["stepsLost"] == 0
    assert status["startTime"] <= status["completionTime"]


def test_the_conditions_say_complete_and_ready(status: Object) -> None:
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions == {
        "Ready": "True",
        "Reconciling": "False",
        "Stalled": "False",
        "Complete": "True",
        "Failed": "False",
        "Suspended": "False",
        "Restored": "False",
    }
    assert condition({"status": status}, "Complete")["reason"] == "TargetReached"


def test_the_status_records_what_is_stored(training: LiveTraining, status: Object) -> None:
    recorded = {c["step"]: c["digest"] for c in status["checkpoints"]}
    # One save is in flight at most: one in between may have given way to a later one.
    assert {0, 60} <= recorded.keys() <= {0, 20, 40, 60}
    assert status["checkpointCount"] == len(recorded)
    for step, digest in recorded.items():
        checkpoint = training.checkpoint(step)
        checkpoint.verify()
        assert checkpoint.manifest.digest == digest
    assert status["latestCheckpoint"] == status["checkpoints"][0]


def test_losses_classes_and_metrics_are_reported(status: Object) -> None:
    assert status["classes"] == ["square", "disc"]
    assert float(status["progress"]["loss"]) > 0
    assert status["progress"]["learningRate"] == "0.01"
    assert 0.0 <= float(status["metrics"]["mAP"]) <= 1.0
    assert {"mAP50", "mAP/square", "mAP/disc"} <= status["metrics"].keys()
    assert status["bestCheckpoint"]["metrics"]["mAP"] == status["metrics"]["mAP"]


def test_the_best_checkpoint_is_exported_and_named(training: LiveTraining, status: Object) -> None:
    (export,) = status["exports"]
    assert export["digest"] == status["bestCheckpoint"]["digest"]
    folder = training.workspace.site.store.folder(export["uri"])
    recorded = read_export(folder)
    assert recorded is not None
    assert dump(recorded) == export
    assert {"saved_model.pb", "assets/label_map.pbtxt"} <= {e.path for e in folder.list()}


def test_tensorboard_and_prometheus_find_their_places(training: LiveTraining) -> None:
    assert training.folder.list("events/")
    (pod,) = training.pods
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert (port["name"], port["containerPort"]) == ("metrics", DEFAULT_METRICS_PORT)


def test_the_image_is_pinned(training: LiveTraining, status: Object) -> None:
    image = training.workspace.site.tools.images["trainer"]
    assert status["image"] == image
    (pod,) = training.pods
    assert pod["spec"]["containers"][0]["image"] == image


def test_kubectl_shows_it_in_a_line(training: LiveTraining, status: Object) -> None:
    kubectl = training.workspace.site.tools.kubectl
    shown = run([*kubectl, "get", "dt", training.name, "--namespace", training.workspace.namespace])
    head, line = (row.split() for row in shown.splitlines())
    assert head == ["NAME", "PHASE", "STEP", "OF", "LOSS", "MAP", "CHECKPOINT", "AGE"]
    loss, metric = status["progress"]["loss"], status["metrics"]["mAP"]
    assert line[:-1] == ["shapes", "Complete", "60", "60", loss, metric, "60"]
