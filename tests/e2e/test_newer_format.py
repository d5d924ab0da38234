"""A checkpoint in a format that is not known yet is neither passed over nor overwritten."""

import json

from detection_trainer.checkpoints.format import MANIFEST_FILE
from detection_trainer.checkpoints.manifest import FORMAT_VERSION
from sandbox.site.kube import condition
from tests.support.cluster.site import LiveTraining, Workspace

STEPS = 20


def test_the_training_stops_and_reports_why(workspace: Workspace) -> None:
    training = workspace.train("newer", steps=STEPS)
    training.wait_for_phase("Complete")
    manifest = raise_format(training, STEPS)
    training.patch(steps=2 * STEPS)
    status = training.wait_for_phase("Failed")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "CheckpointMissing")
    assert f"format version {FORMAT_VERSION + 1}" in stalled["message"]
    assert f"reads versions up to {FORMAT_VERSION}" in stalled["message"]
    assert status["attemptCount"] == 2, "another attempt would not help"
    assert status["latestCheckpoint"]["step"] == STEPS
    assert training.folder.read(f"step-{STEPS:08d}/{MANIFEST_FILE}") == manifest


def raise_format(training: LiveTraining, step: int) -> bytes:
    """Pretend that a later version wrote the checkpoint; return its manifest."""
    folder = training.checkpoint(step).folder
    document = json.loads(folder.read(MANIFEST_FILE))
    document["formatVersion"] = FORMAT_VERSION + 1
    manifest = json.dumps(document).encode()
    folder.write(MANIFEST_FILE, manifest)
    return manifest
