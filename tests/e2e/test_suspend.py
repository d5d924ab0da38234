"""A suspended training saves, uses no resources, and resumes as if it had never stopped."""

from sandbox.site.kube import Object, condition
from tests.support.cluster.site import CONTROL_STEPS, Result, Workspace

SAVED_STEP = 40


def test_suspended_and_resumed(workspace: Workspace, control: Result) -> None:
    training = workspace.train("suspended", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    training.patch(suspend=True)
    status = training.wait_for_phase("Suspended")
    assert training.jobs == []
    assert all(has_ended(pod) for pod in training.pods), "one that ended may still be shown"
    saved = status["latestCheckpoint"]["step"]
    assert SAVED_STEP <= saved < CONTROL_STEPS
    assert status["step"] == saved, "all that was trained is saved"
    suspended = condition({"status": status}, "Suspended")
    assert (suspended["status"], suspended["reason"]) == ("True", "SuspendedByUser")
    assert f"saved at step {saved}" in suspended["message"]
    assert condition({"status": status}, "Ready")["status"] == "True"

    training.patch(suspend=False)
    status = training.wait_for_phase("Complete")
    assert status["currentAttempt"]["resumedFromStep"] == saved
    assert status["interruptionCount"] == 0, "the user asked for it"
    assert condition({"status": status}, "Suspended")["status"] == "False"
    assert Result.of(status) == control


def test_suspended_from_the_start(workspace: Workspace) -> None:
    training = workspace.train("waiting", suspend=True)
    status = training.wait_for_phase("Suspended")
    assert status["attemptCount"] == 0
    assert training.jobs == []
    suspended = condition({"status": status}, "Suspended")
    assert "before its first checkpoint" in suspended["message"]


def has_ended(pod: Object) -> bool:
    return pod["status"]["phase"] in {"Succeeded", "Failed"}
