"""The operator itself refuses a restore that cannot fit: no pod, and a message with a remedy."""

from sandbox.site.kube import condition
from tests.support.cluster.site import Workspace, dataset


def test_full_with_other_classes_needs_no_pod_to_be_refused(workspace: Workspace) -> None:
    workspace.train("source", suspend=True)
    training = workspace.train(
        "misfit",
        dataset=dataset(classes=["square", "disc", "star"]),
        restore={"mode": "full", "from": {"trainingRef": {"name": "source"}}},
    )
    status = training.wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "RestoreRefused")
    assert "class_head/" in stalled["message"]
    assert "[square, disc]" in stalled["message"]
    assert "[square, disc, star]" in stalled["message"]
    assert "detection" in stalled["message"].split("To fix this:")[1]
    assert condition({"status": status}, "Ready")["status"] == "False"
    assert status["attemptCount"] == 0
    assert training.jobs == []
    assert training.pods == []

    # The remedy in the message is enough: the training then waits for its source.
    training.patch(restore={"mode": "detection"})
    status = training.wait_for_phase("Pending")
    assert condition({"status": status}, "Stalled")["status"] == "False"
    assert condition({"status": status}, "Ready")["reason"] == "WaitingForSource"
    events = [(event["type"], event["reason"]) for event in training.events]
    assert ("Warning", "RestoreRefused") in events


def test_continue_from_another_model_is_refused(workspace: Workspace) -> None:
    source = workspace.document("source", suspend=True)
    workspace.apply(source)
    heads = source["spec"]["model"]["boxPredictor"] | {"depth": 32}
    model = source["spec"]["model"] | {"boxPredictor": heads}
    training = workspace.train(
        "misfit", model=model, continueFrom={"trainingRef": {"name": "source"}}
    )
    status = training.wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert stalled["reason"] == "RestoreRefused"
    assert "model.boxPredictor.depth: there 16, here 32" in stalled["message"]
    assert training.jobs == []
