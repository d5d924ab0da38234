"""A trainer that is killed without notice resumes from its newest checkpoint with equal results."""

import subprocess

from sandbox.site.kube import Object
from tests.support.cluster.site import CONTROL_STEPS, LiveTraining, Result, Workspace

SAVED_STEP = 40
HOG = """\
import os, time
open("/proc/1/oom_score_adj", "w").write("1000")
for _ in range(20):
    if os.fork() == 0:
        break
taken = os.urandom(1 << 20) * 96
time.sleep(60)
"""


def test_a_pod_deleted_with_no_grace(workspace: Workspace, control: Result) -> None:
    training = workspace.train("deleted", steps=CONTROL_STEPS)
    training.wait_for_checkpoint(SAVED_STEP)
    training.kube.delete(training.pod_path, grace_s=0)  # kubectl delete pod --force
    status = training.wait_for_phase("Complete")
    assert interruption_of(status)["reason"] == "PodDeleted"
    assert Result.of(status) == control


def test_a_container_killed_by_the_kernel_for_its_memory(
    workspace: Workspace, control: Result
) -> None:
    resources = {"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "1536Mi"}}
    training = workspace.train("hungry", steps=CONTROL_STEPS, resources=resources)
    training.wait_for_checkpoint(SAVED_STEP)
    take_memory(training)
    status = training.wait_for_phase("Complete")
    interruption = interruption_of(status)
    assert interruption["reason"] == "OutOfMemory"
    assert "memory" in interruption["message"]
    assert Result.of(status) == control


def interruption_of(status: Object) -> Object:
    """Return the only interruption, after a check of its cost in the status."""
    (interruption,) = status["interruptions"]
    resumed, reported = interruption["resumedFromStep"], interruption["lastReportedStep"]
    assert SAVED_STEP <= resumed < CONTROL_STEPS
    assert interruption["attempt"] == 1
    assert interruption["stepsLost"] == max(reported - resumed, 0)
    assert status["stepsLost"] == interruption["stepsLost"]
    assert status["interruptionCount"] == 1
    assert status["attemptCount"] == 2
    found: Object = interruption
    return found


def take_memory(training: LiveTraining) -> None:
    """Use more memory than the pod may, so that the kernel kills its largest process, process 1.

    That is the trainer: what takes the memory is many small ones.
    """
    kubectl = training.workspace.site.tools.kubectl
    pod = training.pods[0]["metadata"]["name"]
    within = ["--namespace", training.workspace.namespace]
    done = subprocess.run([*kubectl, "exec", *within, pod, "--", "python3", "-c", HOG], check=False)
    assert done.returncode != 0
