"""Attempts from start to end, in this process, on a dataset of noise."""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Report
from detection_trainer.data.label_map import format_label_map
from detection_trainer.errors import (
    CheckpointMissingError,
    DatasetChangedError,
    InvalidConfigError,
    RestoreRefusedError,
    StorageInUseError,
)
from detection_trainer.options import Options
from detection_trainer.storage import open_folder
from sandbox.samples.datasets import Drawn, write_dataset
from sandbox.samples.trainings import training
from tests.support.trainer.attempts import RunPlace, export_quickly, make_place
from tests.support.trainer.events import points, steps
from tests.support.trainer.runs import flip_byte


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> RunPlace:
    return make_place(tmp_path_factory.mktemp("attempts"))


@pytest.fixture(scope="module")
def control(place: RunPlace) -> Report:
    """A run of 4 steps that nothing interrupted."""
    return place.run("control")


@pytest.fixture
def no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing what computes an error."""
    monkeypatch.setitem(sys.modules, "detection_trainer.run.session", None)


def test_a_run_from_scratch_reports_what_is_stored(place: RunPlace, control: Report) -> None:
    assert place.steps("control") == [0, 2, 4]
    assert control.step == 4
    assert control.resumed_from_step == 0
    assert control.classes == ["tree", "shrub"]
    assert [c.step for c in control.checkpoints] == [4, 2, 0]
    assert control.checkpoints[0].digest == place.newest("control").manifest.digest
    assert control.outcome is not None
    assert control.outcome.message == "reached step 4 of 4"


@pytest.mark.usefixtures("control", "no_tensorflow")
def test_a_reached_target_ends_at_once(place: RunPlace) -> None:
    report = place.run("control")
    assert report.outcome is not None
    assert report.outcome.message == "step 4 is already reached; there is nothing to do"
    assert [c.step for c in report.checkpoints] == [4, 2, 0]
    assert report.classes == ["tree", "shrub"]
    assert report.cycles is not None


@pytest.mark.usefixtures("control")
def test_tensorflow_is_not_imported_where_nothing_is_left_to_compute(place: RunPlace) -> None:
    file = place.root / "control.json"
    file.write_text(json.dumps(training(**place.spec("control"))))
    program = (
        "import sys; from detection_trainer.__main__ import main; "
        f"assert main(['run', {str(file)!r}]) == 0; "
        "sys.exit(sorted({'tensorflow', 'keras'} & sys.modules.keys()) or 0)"
    )
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "step 4 is already reached" in done.stdout


@pytest.mark.usefixtures("control", "no_tensorflow")
def test_a_lowered_target_completes_where_the_run_is(place: RunPlace) -> None:
    report = place.run("control", steps=3)
    assert report.outcome is not None
    assert "step 4 is beyond the target of 3 steps" in report.outcome.message


@pytest.mark.usefixtures("control")
def test_a_damaged_checkpoint_is_skipped_logged_and_trained_again(place: RunPlace) -> None:
    place.copy("control", "damaged")
    flip_byte(place.root / "damaged/step-00000004/model.safetensors")
    report = place.run("damaged", name="control")
    assert [s.step for s in report.skipped] == [4]
    assert report.resumed_from_step == 2
    assert "damaged checkpoint of step 4" in place.logged("checkpointSkipped")[0]
    assert place.newest("damaged").manifest.digest == place.newest("control").manifest.digest


@pytest.mark.usefixtures("control", "no_tensorflow")
def test_a_run_with_only_damaged_checkpoints_does_not_start_again(place: RunPlace) -> None:
    place.copy("control", "ruined")
    for step in (0, 2, 4):
        flip_byte(place.root / f"ruined/step-{step:08d}/optimizer.safetensors")
    with pytest.raises(CheckpointMissingError, match="none of the 3"):
        place.run("ruined", name="control")


@pytest.mark.usefixtures("no_tensorflow")
def test_a_recorded_checkpoint_that_is_gone_is_an_error(place: RunPlace) -> None:
    with pytest.raises(CheckpointMissingError, match="step 700 is recorded"):
        place.run("emptied", options=Options(recorded_step=700))


@pytest.mark.usefixtures("control")
def test_steps_raised_in_the_middle_equal_a_run_that_was_planned_so(place: RunPlace) -> None:
    place.copy("control", "raised", until=2)
    raised = place.run("raised", name="control", steps=6, options=Options(report_period_s=0.0))
    assert raised.resumed_from_step == 2
    assert "holds the final rate from step 4" in place.logged("extended")[0]
    place.run("planned", name="control", steps=6)
    assert place.newest("raised").manifest.digest == place.newest("planned").manifest.digest
    # The copy still had the points of the steps that were trained again.
    noted = steps(open_folder(place.uri("raised")))
    assert [step for step in noted if step > 2] == [3, 4, 5, 6]


@pytest.mark.usefixtures("control")
def test_continued_in_a_new_record_it_equals_the_uninterrupted_run(place: RunPlace) -> None:
    source = place.uri("control") + "/step-00000002"
    report = place.run("continued", continueFrom={"uri": source})
    assert report.resumed_from_step == 2
    assert place.steps("continued") == [2, 4]
    assert place.newest("continued").manifest.digest == place.newest("control").manifest.digest
    assert report.restored is not None
    assert report.restored.mode is None
    assert report.restored.variables.fresh == 0


@pytest.mark.usefixtures("control")
def test_once_step_0_is_committed_the_source_of_a_restore_may_vanish(place: RunPlace) -> None:
    place.copy("control", "source")
    restore = {"mode": "detection", "from": {"uri": place.uri("source") + "/step-00000004"}}
    changes: dict[str, Any] = {
        "restore": restore,
        "dataset": place.dataset("dead", "alive"),
        "steps": 1,
    }
    first = place.run("restored", **changes)
    assert place.steps("restored") == [0, 1]
    assert first.restored is not None
    assert first.restored.groups["class_head"].restored == 0
    assert first.restored.groups["backbone"].fresh == 0
    (listed,) = (line for line in place.lines() if line["event"] == "restored")
    assert len(listed["restored"]) == first.restored.variables.restored
    assert listed["fresh"]["class_head/predictor/bias"] == (
        "mode detection does not restore class_head"
    )
    shutil.rmtree(place.root / "source")
    shutil.rmtree(place.root / "restored/step-00000001")
    second = place.run("restored", **changes)
    assert second.resumed_from_step == 0
    assert second.restored == first.restored
    assert second.checkpoints[0].digest == first.checkpoints[0].digest


@pytest.mark.usefixtures("control")
def test_a_refused_restore_commits_nothing(place: RunPlace) -> None:
    restore = {"mode": "full", "from": {"uri": place.uri("control")}}
    with pytest.raises(RestoreRefusedError) as refused:
        place.run("refused", restore=restore, dataset=place.dataset("a", "b", "c"))
    assert any("class_head" in difference for difference in refused.value.differences)
    assert place.steps("refused") == []


@pytest.mark.usefixtures("control")
def test_a_dataset_that_changed_under_the_run_is_refused(place: RunPlace) -> None:
    place.copy("control", "drifted", until=2)
    other = place.root / "other.tfrecord"
    write_dataset(other, [Drawn(seed=i, labels=(1 + i % 2,)) for i in range(7)])
    kept = (place.root / "train.tfrecord").read_bytes()
    shutil.copy(other, place.root / "train.tfrecord")
    try:
        with pytest.raises(DatasetChangedError, match="has changed since step 2"):
            place.run("drifted", name="control")
    finally:
        (place.root / "train.tfrecord").write_bytes(kept)


SWAPPED = "id 1 was 'tree', now 'shrub'"


@pytest.mark.parametrize(
    ("classes", "change"),
    [
        (("shrub", "tree"), SWAPPED),
        (("tree", "bush"), "id 2 was 'shrub', now 'bush'"),
        (("tree", "shrub", "car"), "id 3 was nothing, now 'car'"),
        (("tree",), "id 2 was 'shrub', now nothing"),
    ],
    ids=["ids are swapped", "a class is renamed", "a class is added", "a class is removed"],
)
def test_a_label_map_that_changed_under_the_run_is_refused_before_records_are_read(
    place: RunPlace, monkeypatch: pytest.MonkeyPatch, classes: tuple[str, ...], change: str
) -> None:
    dataset = mapped(place, "tree", "shrub")
    folder = f"mapped-{'-'.join(classes)}"
    place.run(folder, dataset=dataset, steps=1)
    mapped(place, *classes)
    monkeypatch.setattr("detection_trainer.data.dataset.read_dataset", refuse_to_read)
    with pytest.raises(DatasetChangedError, match="classes have changed since step 1") as refused:
        place.run(folder, dataset=dataset, steps=2)
    assert change in str(refused.value)
    assert place.steps(folder) == [0, 1]


def test_a_label_map_in_another_order_of_items_is_the_same(place: RunPlace) -> None:
    dataset = mapped(place, "tree", "shrub")
    place.run("reordered", dataset=dataset, steps=1)
    items = format_label_map(["tree", "shrub"]).split("item")[1:]
    (place.root / "map.pbtxt").write_text("".join(f"item{item}" for item in reversed(items)))
    assert place.run("reordered", dataset=dataset, steps=2).resumed_from_step == 1


def mapped(place: RunPlace, *classes: str) -> dict[str, Any]:
    """Write a label map and return the dataset field that names it."""
    path = place.root / "map.pbtxt"
    path.write_text(format_label_map(classes))
    return {**place.dataset(), "classes": None, "labelMap": {"uri": path.as_uri()}}


def refuse_to_read(*_given: Any, **_named: Any) -> Any:
    pytest.fail("the records were read")


def test_other_files_than_those_that_were_checked_are_not_trained_on(place: RunPlace) -> None:
    checked = Options(dataset_digest="sha256:" + "0" * 64)
    with pytest.raises(DatasetChangedError, match="has changed since the preflight checked it"):
        place.run("unchecked", options=checked)
    assert place.steps("unchecked") == []


@pytest.mark.usefixtures("control", "no_tensorflow")
def test_a_folder_of_another_run_is_refused(place: RunPlace) -> None:
    with pytest.raises(StorageInUseError, match="default/control"):
        place.run("control", name="rival")
    with pytest.raises(StorageInUseError, match="with another model"):
        place.run("control", seed=5)


@pytest.mark.usefixtures("no_tensorflow")
def test_unsupported_options_are_refused_before_the_folder_is_created(place: RunPlace) -> None:
    with pytest.raises(InvalidConfigError, match="workers 2"):
        place.run("parallel", workers=2)
    with pytest.raises(InvalidConfigError, match="--checkpoint-uri"):
        place.run("claimed", checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}})
    assert not (place.root / "parallel").exists()


IDLE: dict[str, Any] = {"evaluation": {"everySteps": 10}}
"""Evaluations without data for them: refused at a first start, but older runs may have it."""


@pytest.mark.usefixtures("no_tensorflow")
def test_a_field_without_effect_is_refused_before_anything_is_claimed(place: RunPlace) -> None:
    with pytest.raises(InvalidConfigError, match=r"received evaluation\.everySteps: 10 without it"):
        place.run("idle", **IDLE)
    assert not (place.root / "idle").exists()


@pytest.mark.usefixtures("control", "no_tensorflow")
def test_a_run_that_has_checkpoints_resumes_with_a_field_without_effect(place: RunPlace) -> None:
    report = place.run("control", **IDLE)
    assert report.outcome is not None
    assert report.outcome.exit_code is ExitCode.COMPLETED


def test_what_the_operator_starts_was_checked_by_the_operator(
    place: RunPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detection_trainer.run.attempt.take_ownership", _reached)
    with pytest.raises(_ReachedError):
        place.run("started", options=Options(config_digest="sha256:" + "0" * 64), **IDLE)


class _ReachedError(Exception):
    """The attempt went as far as the test follows it."""


def _reached(*_: object, **__: object) -> None:
    raise _ReachedError


@pytest.mark.usefixtures("control")
def test_a_run_exports_the_best_else_the_newest_and_nothing_twice(
    place: RunPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.copy("control", "exporting")
    asked: dict[str, Any] = {"name": "control", "exports": ["SavedModel"]}
    with monkeypatch.context() as patched:
        export_quickly(patched)
        first = place.run("exporting", **asked)
        (export,) = first.exports
        assert export.uri == place.uri("exporting") + "/export/saved_model-00000004"
        assert export.digest == first.checkpoints[0].digest
        assert " to " in place.logged("exported")[0]
        metrics = place.root / "exporting/step-00000002/metrics.json"
        metrics.write_text(json.dumps({"step": 2, "metrics": {"mAP": 0.5}}))
        assert [made.step for made in place.run("exporting", **asked).exports] == [4, 2]
    monkeypatch.setitem(sys.modules, "detection_trainer.exports.saved_model", None)
    assert [made.step for made in place.run("exporting", **asked).exports] == [4, 2]


def test_an_end_that_was_not_evaluated_is_evaluated_without_training(place: RunPlace) -> None:
    changes: dict[str, Any] = {
        "dataset": place.dataset("tree", "shrub", validation=True),
        "steps": 1,
    }
    first = place.run("evaluated", **changes)
    assert first.metrics.keys() >= {"mAP", "AR100", "mAP/tree"}
    noted = {tag for tag, step, _ in points(open_folder(place.uri("evaluated"))) if step == 1}
    assert noted >= {"training/loss", "evaluation/mAP", "evaluation/mAP/tree", "evaluation/image_3"}
    metrics = place.root / "evaluated/step-00000001/metrics.json"
    before = metrics.read_text()
    metrics.unlink()
    second = place.run("evaluated", **changes)
    assert second.metrics == first.metrics
    assert metrics.read_text() == before
    assert place.logged("progress") == []
    assert second.best is not None
    assert second.best.step == 1


def test_a_run_that_stopped_early_reports_so_and_resumes_when_steps_are_raised(
    place: RunPlace,
) -> None:
    # Random weights and noise: mAP stays 0, so that the second evaluation is no better.
    changes: dict[str, Any] = {
        "dataset": place.dataset("tree", "shrub", validation=True),
        "evaluation": {"everySteps": 1},
        "earlyStopping": {"patience": 2, "minDelta": 1.0},
    }
    first = place.run("early", steps=6, **changes)
    assert first.outcome is not None
    assert (first.outcome.reason, first.step) == ("EarlyStopped", 3)
    assert "step 3 of 6: mAP did not rise in 2 evaluations" in first.outcome.message
    again = place.run("early", steps=6, **changes)
    assert again.outcome is not None
    assert (again.outcome.reason, again.step) == ("EarlyStopped", 3)
    assert place.logged("progress") == []
    raised = place.run("early", steps=7, **changes)
    assert raised.outcome is not None
    assert (raised.outcome.reason, raised.step) == ("EarlyStopped", 5)
