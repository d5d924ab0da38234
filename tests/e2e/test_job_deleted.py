"""A Job that a person deletes is created again, and the training resumes."""

from tests.support.cluster.site import CONTROL_STEPS, Result, Workspace

SAVED_STEP = 40


def test_a_deleted_job_is_created_again(workspace: Workspace, control: Result) -> None:
    training = workspace.train("jobless", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    workspace.kube.delete(training.job_path)  # kubectl delete job
    status = training.wait_for_phase("Complete")
    (interruption,) = status["interruptions"]
    assert interruption["reason"] == "JobDeleted"
    assert interruption["stepsLost"] == 0, "its pod had time to save"
    assert status["attemptCount"] == 2
    assert Result.of(status) == control
