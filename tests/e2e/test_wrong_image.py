"""An image that cannot be pulled is reported with its reason; a corrected one is used."""

from sandbox.site.kube import condition
from tests.support.cluster.site import Workspace


def test_an_image_that_cannot_be_pulled(workspace: Workspace) -> None:
    right = workspace.site.tools.images["trainer"]
    wrong = f"{right.rpartition(':')[0]}:no-such-tag"
    training = workspace.train("unpulled", steps=20, image=wrong)
    ready = training.wait_for_condition("Ready", "False", "ImagePullFailed")
    assert wrong in ready["message"]
    assert training.status["phase"] == "Queued"

    training.patch(image=right)
    status = training.wait_for_phase("Complete")
    assert status["image"] == right
    assert status["step"] == 20


def test_an_image_name_that_is_none(workspace: Workspace) -> None:
    training = workspace.train("unnamed", image="not a reference")
    status = training.wait_for_phase("Failed")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ImagePullFailed")
    assert "not a reference" in stalled["message"]
    assert "spec.image" in stalled["message"]
