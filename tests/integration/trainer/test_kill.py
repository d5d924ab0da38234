"""The program itself, killed and stopped: what it leaves, and that it resumes exactly."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detection_trainer.checkpoints.manifest import AVERAGE
from detection_trainer.training.optimizer import GOOD_STEPS
from sandbox.samples.trainings import TINY_MODEL, training
from tests.support.trainer.attempts import RunPlace, make_place

MOMENTUM = {"learningRate": 0.01}
ADAM = {"name": "adam", "learningRate": 0.001}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> RunPlace:
    return make_place(tmp_path_factory.mktemp("killed"))


@contextmanager
def started(
    place: RunPlace, folder: str, *arguments: str, module: tuple[str, ...], **changes: Any
) -> Iterator[subprocess.Popen[str]]:
    """Start the program on the training in `folder`, one line of progress for each step."""
    file = place.root / f"{folder}.json"
    file.write_text(json.dumps(training(**{**place.spec(folder), **changes})))
    words = [sys.executable, "-m", *module, "run", str(file), "--report-period", "0", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], event: str, step: int | None = None) -> None:
    """Read the program's log until it has the event."""
    assert process.stdout is not None
    for line in process.stdout:
        logged = json.loads(line)
        if logged["event"] == event and step in {None, logged.get("step")}:
            return
    assert process.stderr is not None
    pytest.fail(process.stderr.read())


def run_on(place: RunPlace, folder: str, **changes: Any) -> str:
    """Finish the run in this process and return the digest of its last weights."""
    place.run(folder, **changes)
    return place.newest(folder).manifest.digest


def test_killed_in_the_middle_and_started_again_it_equals_the_uninterrupted_run(
    place: RunPlace,
) -> None:
    changes = {"steps": 8, "optimizer": MOMENTUM}
    with started(place, "momentum", module=("detection_trainer",), **changes) as process:
        wait_for(process, "progress", 5)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert max(place.steps("momentum")) < 8
    resumed = run_on(place, "momentum", **changes)
    assert resumed == run_on(place, "momentum-control", **changes)
    assert place.newest("momentum").manifest.environment.intra_op_threads == 1


@pytest.mark.parametrize(
    ("folder", "changes"),
    [
        pytest.param(
            "adamw",
            {
                "optimizer": {
                    **ADAM,
                    "name": "adamw",
                    "weightDecay": 0.01,
                    "movingAverageDecay": 0.9,
                }
            },
            id="AdamW with averages",
        ),
        pytest.param(
            "half",
            {
                "model": {**TINY_MODEL, "precision": "mixed_float16"},
                "optimizer": {**ADAM, "name": "adamw"},
            },
            id="mixed_float16 with its loss scale",
        ),
    ],
)
def test_all_that_an_optimizer_remembers_survives_a_kill(
    place: RunPlace, folder: str, changes: dict[str, Any]
) -> None:
    with started(
        place, folder, module=("detection_trainer",), **{**changes, "steps": 6}
    ) as process:
        wait_for(process, "progress", 3)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert max(place.steps(folder)) < 6
    run_on(place, folder, **{**changes, "steps": 6})
    run_on(place, f"{folder}-control", **{**changes, "steps": 6})
    killed, control = place.newest(folder), place.newest(f"{folder}-control")
    assert killed.manifest.files == control.manifest.files
    slots = control.load()[1]
    remembered = {"adamw": f"{AVERAGE}class_head/predictor/kernel", "half": GOOD_STEPS}[folder]
    assert np.any(slots[remembered])


@pytest.mark.parametrize("file", ["optimizer.safetensors", "manifest.json"])
def test_killed_while_it_saves_it_equals_the_uninterrupted_run(place: RunPlace, file: str) -> None:
    changes: dict[str, Any] = {"steps": 5, "optimizer": ADAM}
    folder = f"adam-{file.partition('.')[0]}"
    module = ("chaos.trainer.dying_trainer", "before", f"step-00000004/{file}", "1")
    with started(place, folder, module=module, **changes) as process:
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert place.steps(folder) == [0, 2]
    # Both files are written at once, so of the other one nothing is sure before the commit.
    left = {path.name for path in (place.root / folder / "step-00000004").glob("[!.]*")}
    assert file not in left
    assert len(left) == 2 or file != "manifest.json"
    if "adam-control" not in {path.name for path in place.root.iterdir()}:
        place.run("adam-control", **changes)
    resumed = run_on(place, folder, **changes)
    assert resumed == place.newest("adam-control").manifest.digest


def test_killed_while_it_evaluates_and_with_steps_raised_it_equals_the_uninterrupted_run(
    place: RunPlace,
) -> None:
    changes: dict[str, Any] = {
        "dataset": place.dataset("tree", "shrub", validation=True),
        "optimizer": {**ADAM, "movingAverageDecay": 0.9, "schedule": {"decaySteps": 6}},
        "augmentation": [{"randomHorizontalFlip": {}}, {"randomScaleCrop": {"minScale": 0.6}}],
        "evaluation": {"everySteps": 2},
        "earlyStopping": {"patience": 100},
    }
    with started(place, "evaluating", module=("detection_trainer",), steps=6, **changes) as process:
        wait_for(process, "evaluating", 4)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    run_on(place, "evaluating", steps=6, **changes)
    run_on(place, "evaluating", steps=8, **changes)
    run_on(place, "evaluating-control", steps=8, **changes)
    interrupted, control = place.newest("evaluating"), place.newest("evaluating-control")
    assert interrupted.step == control.step == 8
    assert interrupted.manifest.files == control.manifest.files
    assert interrupted.manifest.patience == control.manifest.patience
    assert interrupted.metrics == control.metrics
    patience = control.manifest.patience
    assert patience is not None
    assert patience.evaluated_step == 6


def test_sigterm_saves_the_step_and_exits_40(place: RunPlace) -> None:
    log = place.root / "termination-log"
    arguments = ("--termination-log", str(log))
    changes = {
        "steps": 10**6,
        "checkpoints": {**place.spec("term")["checkpoints"], "everySteps": 10**6},
    }
    with started(place, "term", *arguments, module=("detection_trainer",), **changes) as process:
        wait_for(process, "progress", 3)
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 40
    saved = place.steps("term")[-1]
    assert saved >= 3
    outcome = json.loads(log.read_text())["outcome"]
    assert outcome["exitCode"] == 40
    assert f"checkpoint has step {saved}" in outcome["message"]


def test_sigterm_during_the_start_up_exits_40_at_once(place: RunPlace) -> None:
    with started(place, "early", module=("detection_trainer",)) as process:
        wait_for(process, "dataset")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate()
        assert process.returncode == 40
    assert '"reason": "Saved"' in output
    assert place.steps("early") in ([], [0])


def test_an_error_is_one_line_an_outcome_and_an_exit_code(place: RunPlace, tmp_path: Path) -> None:
    log = tmp_path / "termination-log"
    arguments = ("--termination-log", str(log))
    dataset = {"train": {"uri": (tmp_path / "absent-*.tfrecord").as_uri()}, "classes": ["tree"]}
    module = ("detection_trainer",)
    with started(place, "absent", *arguments, module=module, dataset=dataset) as process:
        _, errors = process.communicate()
        assert process.returncode == 56
    lines = [line for line in errors.splitlines() if line.startswith("detection-trainer:")]
    assert len(lines) == 1
    assert "NotFound" in lines[0]
    assert json.loads(log.read_text())["outcome"]["reason"] == "NotFound"


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        pytest.param(lambda path: path.write_bytes(b""), 58, "DatasetChanged", id="overwritten"),
        pytest.param(Path.unlink, 56, "NotFound", id="deleted"),
    ],
)
def test_a_dataset_that_changes_during_the_run_ends_it_with_the_contracts_message(
    tmp_path: Path, changes: Callable[[Path], None], code: int, reason: str
) -> None:
    place = make_place(tmp_path)
    endless = {
        "steps": 10**6,
        "checkpoints": {**place.spec("x")["checkpoints"], "everySteps": 9**6},
    }
    with started(place, "x", module=("detection_trainer",), **endless) as process:
        wait_for(process, "progress", 3)
        changes(tmp_path / "train.tfrecord")
        _, errors = process.communicate()
        assert process.returncode == code
    assert f"detection-trainer: {reason}: " in errors
    assert "train.tfrecord" in errors
