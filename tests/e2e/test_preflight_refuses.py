"""What only storage knows is checked by a CPU pod first: a misfit never starts a trainer."""

from sandbox.site.kube import Object, condition
from tests.support.cluster.site import LiveTraining, Workspace
from tests.support.trainer.runs import commit


def roles(training: LiveTraining) -> set[str]:
    return {pod["metadata"]["labels"]["detectiontraining.dev/role"] for pod in training.pods}


def restore_from(uri: str, mode: str = "full") -> Object:
    return {"mode": mode, "from": {"uri": uri}}


def test_a_checkpoint_that_does_not_fit(workspace: Workspace) -> None:
    foreign = workspace.folder_uri("foreign")
    commit(workspace.site.store.folder(foreign), step=7)
    training = workspace.train("misfit", restore=restore_from(f"{foreign}/step-00000007"))
    status = training.wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "RestoreRefused")
    assert "step-00000007" in stalled["message"]
    assert "missing in the source, the model expects shape" in stalled["message"]
    assert status["preflight"]["outcome"]["differences"]
    assert status["attemptCount"] == 0
    assert roles(training) == {"preflight"}


def test_a_source_that_is_not_there(workspace: Workspace) -> None:
    training = workspace.train("sourceless", restore=restore_from("s3://runs/no-such-run"))
    status = training.wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert stalled["reason"] == "NotFound"
    assert "s3://runs/no-such-run" in stalled["message"]
    assert roles(training) == {"preflight"}


def test_a_source_that_fits_is_trained_from(workspace: Workspace) -> None:
    source = workspace.train("source", steps=20)
    source.wait_for_phase("Complete")
    uri = workspace.folder_uri("source")
    training = workspace.train("fitting", steps=1, restore=restore_from(uri))
    status = training.wait_for_phase("Complete")
    assert status["preflight"]["outcome"]["reason"] == "Completed"
    assert status["restored"]["uri"] == f"{uri}/step-00000020"
    assert roles(training) == {"preflight", "trainer"}
