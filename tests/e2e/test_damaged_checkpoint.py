"""A damaged checkpoint is skipped for the one before it, and the status reports this."""

from detection_trainer.checkpoints.manifest import MODEL_FILE
from tests.support.cluster.site import LiveTraining, Workspace

STEPS, MORE_STEPS = 60, 80


def test_the_one_before_is_used(workspace: Workspace) -> None:
    # Steps to keep are saved before training continues, so each of them exists.
    training = workspace.train("damaged", steps=STEPS, checkpoints={"keepEverySteps": 20})
    before = training.wait_for_phase("Complete")["latestCheckpoint"]
    flip_byte(training, STEPS)
    training.patch(steps=MORE_STEPS)
    status = training.wait_for_phase("Complete")
    assert status["currentAttempt"]["resumedFromStep"] == 40
    (skipped,) = status["skippedCheckpoints"]
    assert skipped["step"] == STEPS
    assert "the bytes differ from the manifest" in skipped["problem"]
    assert MODEL_FILE in skipped["problem"]
    assert any(event["reason"] == "CheckpointSkipped" for event in training.events)
    again = {c["step"]: c["digest"] for c in status["checkpoints"]}
    assert again[STEPS] == before["digest"], "trained again, bit by bit"
    training.checkpoint(STEPS).verify()
    assert status["step"] == MORE_STEPS


def flip_byte(training: LiveTraining, step: int) -> None:
    folder = training.checkpoint(step).folder
    data = bytearray(folder.read(MODEL_FILE))
    data[-1] ^= 0xFF
    folder.write(MODEL_FILE, bytes(data))
