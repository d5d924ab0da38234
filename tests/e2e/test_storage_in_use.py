"""A checkpoint folder belongs to one training; a second one is refused and harms nothing."""

from sandbox.site.kube import condition
from tests.support.cluster.site import Workspace


def test_a_folder_is_not_shared(workspace: Workspace) -> None:
    checkpoints = {"storage": {"uri": workspace.folder_uri("shared")}}
    first = workspace.train("first", steps=20, checkpoints=checkpoints)
    first.wait_for_checkpoint(0)
    second = workspace.train("second", steps=20, checkpoints=checkpoints)
    status = second.wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "StorageInUse")
    assert "training first" in stalled["message"].replace(f"{workspace.namespace}/", "")
    assert second.pods == []
    assert first.wait_for_phase("Complete")["attemptCount"] == 1

    # The folder records its owner, also after the resource is deleted.
    first.delete()
    second.delete()
    third = workspace.train("third", steps=20, checkpoints=checkpoints)
    status = third.wait_for_phase("Failed")
    stalled = condition({"status": status}, "Stalled")
    assert stalled["reason"] == "StorageInUse"
    assert f"belongs to training {workspace.namespace}/first" in stalled["message"]
    assert status["attemptCount"] == 1, "another attempt would not help"
