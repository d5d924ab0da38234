"""A dataset that cannot be trained on is named by file and record, and not retried."""

from dataclasses import dataclass

import pytest

from sandbox.site.kube import condition
from tests.support.cluster.site import DATASET, LiveTraining, Workspace, dataset
from tests.support.trainer.shapes import CLASSES, draw_picture, record_file, spoil

PICTURES = [draw_picture(seed) for seed in range(6)]
WHOLE = record_file(PICTURES)
WHOLE_IMAGE, BEYOND_IMAGE = (0.0, 0.0, 1.0, 1.0), (0.2, 0.2, 1.4, 0.8)


@dataclass(frozen=True)
class Fault:
    """A file that is wrong, and what must be reported about it."""

    content: bytes
    reported: tuple[str, ...]
    purpose: str = "train"


FAULTS = {
    "truncated": Fault(WHOLE[:-100], ("record 5 ", "truncated")),
    "label": Fault(
        spoil(PICTURES, 3, labels=(3,), boxes=(WHOLE_IMAGE,)),
        ("record 3 ", "label 3", "outside the label map"),
    ),
    "box": Fault(
        spoil(PICTURES, 2, labels=(1,), boxes=(BEYOND_IMAGE,)),
        ("record 2 ", "outside the image"),
    ),
    "text": Fault(b"this is no TFRecord at all", ("record 0 ", "TFRecord")),
    "empty": Fault(b"", ("dataset.train", "at least one image")),
    "validation": Fault(b"", ("dataset.validation", "at least one image"), "validation"),
}


@pytest.fixture(scope="module")
def trainings(shared_workspace: Workspace) -> dict[str, LiveTraining]:
    """Apply all at once: their checks need no TensorFlow and little time."""
    return {name: apply(shared_workspace, name, preflight="Always") for name in FAULTS}


def apply(workspace: Workspace, fault: str, **spec: object) -> LiveTraining:
    """Apply a training of the shapes whose `purpose` set is the faulty file."""
    what = FAULTS[fault]
    folder = workspace.site.store.folder(f"{workspace.folder_uri('data')}/{fault}")
    folder.write("part-00000.tfrecord", what.content)
    place = {what.purpose: {"uri": f"{folder.uri.rstrip('/')}/part-*.tfrecord"}}
    name = f"{fault}-{'checked' if spec else 'run'}"
    return workspace.train(name, dataset=dataset(classes=list(CLASSES), **place), **spec)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_check_before_names_it(fault: str, trainings: dict[str, LiveTraining]) -> None:
    status = trainings[fault].wait_for_phase("Refused")
    stalled = condition({"status": status}, "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "DataInvalid")
    for text in ("part-", *FAULTS[fault].reported):
        assert text in stalled["message"]
    assert status["attemptCount"] == 0, "no trainer was started"


def test_the_trainer_reports_the_same_fault_once(
    shared_workspace: Workspace, trainings: dict[str, LiveTraining]
) -> None:
    checked = condition({"status": trainings["label"].wait_for_phase("Refused")}, "Stalled")
    status = apply(shared_workspace, "label").wait_for_phase("Failed")
    stalled = condition({"status": status}, "Stalled")
    assert stalled["reason"] == "DataInvalid"
    problem = checked["message"].split(". ")[0]
    assert stalled["message"].startswith(problem[:120])
    assert status["attemptCount"] == 1
    assert f"{DATASET}/" not in stalled["message"]


def test_a_few_bad_records_may_be_allowed(shared_workspace: Workspace) -> None:
    folder = shared_workspace.site.store.folder(f"{shared_workspace.folder_uri('data')}/label")
    place = {"uri": f"{folder.uri.rstrip('/')}/part-*.tfrecord"}
    training = shared_workspace.train(
        "tolerant", steps=1, preflight="Always", dataset=dataset(train=place, maxBadRecords=1)
    )
    assert training.wait_for_phase("Complete")["step"] == 1
