"""Whole attempts of tiny trainings, in this process, on a dataset of noise."""

import io
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from detection_trainer.checkpoints.format import Checkpoint, committed_steps, find_checkpoint
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import Report
from detection_trainer.contract.training import Training
from detection_trainer.options import Options
from detection_trainer.reporting.console import JsonLines
from detection_trainer.reporting.reporter import Reporter
from detection_trainer.run.attempt import run_attempt
from detection_trainer.run.context import Attempt
from detection_trainer.stop import StopSignal
from detection_trainer.storage import open_folder
from sandbox.samples.datasets import Drawn, write_dataset
from tests.support.trainer.runs import NOW, parsed


@dataclass
class RunPlace:
    """The folder of a test's dataset and runs."""

    root: Path
    output: io.StringIO = field(default_factory=io.StringIO)

    def run(self, folder: str, *, options: Options | None = None, **changes: Any) -> Report:
        """Run one attempt of the training in `folder` and return its last report."""
        return self.run_training(parsed(**{**self.spec(folder), **changes}), options)

    def run_training(self, training: Training, options: Options | None = None) -> Report:
        """Run one attempt of `training` and return its last report."""
        self.output = io.StringIO()
        reporter = Reporter(JsonLines(self.output, lambda: NOW), lambda: NOW)
        attempt = Attempt(training, options or Options(), reporter, StopSignal(), lambda: NOW)
        outcome = run_attempt(attempt)
        assert outcome.exit_code is ExitCode.COMPLETED
        reporter.finish(outcome)
        return reporter.report

    def spec(self, folder: str) -> dict[str, Any]:
        """Return the fields that all runs share."""
        return {
            "name": folder,
            "dataset": self.dataset("tree", "shrub"),
            "steps": 4,
            "batchSize": 2,
            "optimizer": {"learningRate": 0.01, "schedule": {"decaySteps": 4}},
            "checkpoints": {"storage": {"uri": self.uri(folder)}, "everySteps": 2},
        }

    def dataset(self, *classes: str, validation: bool = False) -> dict[str, Any]:
        """Return the dataset field."""
        place = {"uri": (self.root / "train.tfrecord").as_uri()}
        found = {"train": place, "classes": list(classes)}
        return {**found, "validation": place} if validation else found

    def uri(self, folder: str) -> str:
        """Return the URI of a run's folder."""
        return (self.root / folder).as_uri()

    def newest(self, folder: str) -> Checkpoint:
        """Return a run's newest checkpoint."""
        return find_checkpoint(open_folder(self.uri(folder)))

    def at(self, folder: str, step: int) -> Checkpoint:
        """Return a run's checkpoint of `step`."""
        return find_checkpoint(open_folder(f"{self.uri(folder)}/step-{step:08d}"))

    def steps(self, folder: str) -> list[int]:
        """Return the committed steps."""
        return committed_steps(open_folder(self.uri(folder)))

    def logged(self, event: str) -> list[str]:
        """Return the messages that the last attempt logged for `event`."""
        return [line["message"] for line in self.lines() if line["event"] == event]

    def lines(self) -> list[dict[str, Any]]:
        """Return all log lines of the last attempt."""
        return [json.loads(line) for line in self.output.getvalue().splitlines()]

    def copy(self, folder: str, copy: str, *, until: int | None = None) -> None:
        """Copy a run's folder, without the checkpoints after `until`."""
        shutil.copytree(self.root / folder, self.root / copy)
        for step in self.steps(copy):
            if until is not None and step > until:
                shutil.rmtree(self.root / copy / f"step-{step:08d}")


def export_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an export be three small files, and need no TensorFlow."""

    def write(_checkpoint: Checkpoint, path: Path) -> None:
        for name in ("saved_model.pb", "variables/variables.index", "assets/label_map.pbtxt"):
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).write_text(name)

    module = SimpleNamespace(write_saved_model=write)
    monkeypatch.setitem(sys.modules, "detection_trainer.exports.saved_model", module)


def make_place(root: Path) -> RunPlace:
    """Return a place with a dataset of six images in two classes."""
    write_dataset(root / "train.tfrecord", [Drawn(seed=i, labels=(1 + i % 2,)) for i in range(6)])
    return RunPlace(root)
