"""Raised steps resume a training: its results equal those of one that had them from the start."""

from sandbox.site.kube import Object, condition
from tests.support.cluster.site import CONTROL_STEPS, Result, Workspace

FEWER_STEPS = CONTROL_STEPS // 2


def test_a_finished_training_resumes_when_steps_are_raised(
    workspace: Workspace, control: Result
) -> None:
    training = workspace.train("raised", steps=FEWER_STEPS)
    status = training.wait_for_phase("Complete")
    assert (status["step"], status["schedule"]["decaySteps"]) == (FEWER_STEPS, FEWER_STEPS)
    training.patch(steps=CONTROL_STEPS)
    status = training.wait_for_attempt(2)
    assert condition({"status": status}, "Complete")["status"] == "False"
    assert "completionTime" not in status
    assert status["currentAttempt"]["resumedFromStep"] == FEWER_STEPS
    status = training.wait_for_phase("Complete")
    require_continued(status)
    assert Result.of(status) == control


def test_a_running_training_is_given_more(workspace: Workspace, control: Result) -> None:
    training = workspace.train("extended", steps=FEWER_STEPS)
    training.wait_for_checkpoint(0)
    training.patch(steps=CONTROL_STEPS)
    training.wait(has_pending_steps, "the steps are reported as pending")
    status = training.wait_for_phase("Complete")
    assert status.get("pendingChanges", []) == []
    require_continued(status)
    assert Result.of(status) == control


def has_pending_steps(found: Object) -> bool:
    return bool(found["status"].get("pendingChanges") == ["steps"])


def require_continued(status: Object) -> None:
    assert status["attemptCount"] == 2
    assert status["interruptionCount"] == 0
    assert status["targetSteps"] == CONTROL_STEPS
    assert status["schedule"]["decaySteps"] == FEWER_STEPS, "fixed at the first start"
