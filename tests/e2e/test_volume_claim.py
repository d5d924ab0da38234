"""Checkpoints may be stored on a volume claim, and another training may restore from it."""

from sandbox.site.kube import Object, condition
from tests.support.cluster.site import Workspace

STEPS = 20


def test_checkpoints_on_a_claim_are_resumed_restored_and_kept(workspace: Workspace) -> None:
    document = workspace.document("claimed", steps=STEPS)
    document["spec"]["checkpoints"]["storage"] = {"volumeClaim": {"size": "1Gi"}}
    source = workspace.apply(document)
    status = source.wait_for_phase("Complete")
    assert status["latestCheckpoint"]["uri"] == f"file:///checkpoints/step-{STEPS:08d}"

    source.patch(steps=2 * STEPS)
    status = source.wait_for_phase("Complete")
    assert status["currentAttempt"]["resumedFromStep"] == STEPS
    digest = status["latestCheckpoint"]["digest"]

    restore = {"mode": "full", "from": {"trainingRef": {"name": "claimed"}}}
    target = workspace.train("restored", steps=1, restore=restore)
    status = target.wait_for_phase("Complete")
    assert status["restored"]["digest"] == digest
    assert status["restored"]["step"] == 2 * STEPS
    assert target.checkpoint(0).manifest.digest == digest

    source.delete()
    workspace.kube.wait(source.path, lambda found: found is None, what="the training is gone")
    kept = workspace.kube.get(workspace.path("persistentvolumeclaims", "claimed-checkpoints"))
    assert kept["status"]["phase"] == "Bound"
    assert "ownerReferences" not in kept["metadata"]
    assert "deletionTimestamp" not in kept["metadata"]


def test_a_claim_of_an_unknown_class_is_reported_in_the_clusters_words(
    workspace: Workspace,
) -> None:
    document = workspace.document("unbound", steps=STEPS)
    claim = {"size": "1Gi", "storageClassName": "no-such-class"}
    document["spec"]["checkpoints"]["storage"] = {"volumeClaim": claim}
    training = workspace.apply(document)

    def names_the_class(found: Object) -> bool:
        return "no-such-class" in condition(found, "Ready").get("message", "")

    status = training.wait(names_the_class, "the condition names the class", 120)
    ready = condition({"status": status}, "Ready")
    assert ready["reason"] == "Unschedulable"
    assert "PersistentVolumeClaim unbound-checkpoints: ProvisioningFailed" in ready["message"]
    assert "spec.checkpoints.storage.volumeClaim" in ready["message"]
