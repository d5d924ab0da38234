"""One model trained by ours, then by the OD API, then by each on its own.

    learned              ours, until it finds something
    start                the OD API from our export, 25 steps
    constant, cosine     the OD API from there, another 25 by each schedule
    ours/…               likewise ours, from the model_dir `start`

From random weights two runs part within a few steps: where the last bit of a sum moves a unit over
the kink of its ReLU6, a whole path of the gradient comes or goes.

Ours shuffles, so the OD API reads the records in the order that ours has; and since it reads its
files from their beginning at every start, each of its runs has a file of its own.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from detection_trainer.commands.pipeline_run import PipelineRun, make_training
from detection_trainer.options import Options
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights
from tests.odapi.restoring import read_weights
from tests.odapi.runs import CLASSES, in_our_order, picture_of_shapes, pipeline, write_records
from tests.odapi.twins import Twin, run_reference
from tests.support.trainer.attempts import RunPlace

STRETCH = 25
SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True, slots=True)
class Lineage:
    """The runs of one model, in `folder`."""

    folder: Path
    twin: Twin
    batch: int
    begun: int
    """The step at which `learned` ends."""
    rate: float

    @property
    def half(self) -> int:
        """The step at which `start` ends."""
        return self.begun + STRETCH

    @property
    def whole(self) -> int:
        """The step at which all others end."""
        return self.half + STRETCH

    @property
    def records(self) -> Path:
        """What is trained on, and what is evaluated."""
        return self.folder / "all.tfrecord"

    @property
    def ours(self) -> RunPlace:
        """The folder of our runs."""
        return RunPlace(self.folder / "ours")

    @property
    def export(self) -> Path:
        """What `learned` wrote for the OD API."""
        return self.ours.root / "learned" / "export" / f"odapi-{self.begun:08d}"

    def run(self) -> None:
        """Make all runs."""
        self.ours.root.mkdir(parents=True)
        pictures = [picture_of_shapes(seed) for seed in range(8)]
        write_records(self.records, pictures)
        self._learn()
        shutil.copytree(self.export, self.folder / "start")
        self._write("start", "constant", pictures, range(self.begun, self.half))
        for schedule in SCHEDULES:
            self._write(schedule, schedule, pictures, range(self.half, self.whole))
        run_reference("branch", self.folder, self.half, self.whole)
        for schedule in SCHEDULES:
            self._go_on(schedule)

    def config_of_ours(self, name: str) -> Path:
        """Return the configuration of `name` that reads every picture once."""
        return self.ours.root / f"{name}.config"

    def losses(self, schedule: str) -> tuple[list[float], list[float]]:
        """Return what our run and the OD API logged of each step."""
        lines = map(json.loads, self._lines(schedule).read_text().splitlines())
        by_step = {line["step"]: line["loss"] for line in lines if line["event"] == "progress"}
        ours = [by_step[step] for step in range(self.half + 1, self.whole + 1)]
        with np.load(self.folder / schedule / "scalars.npz") as logged:
            theirs = logged["Loss/localization_loss"] + logged["Loss/classification_loss"]
        return ours, theirs.tolist()

    def state(self, schedule: str) -> ODAPIWeights:
        """Return the OD API's last checkpoint."""
        return read_weights((self.folder / schedule).as_uri(), self.twin.model)

    def training(self) -> dict[str, Any]:
        """Return the fields of the training `learned` that name its data."""
        file = {"uri": self.records.as_uri()}
        return {
            "model": {**self.twin.fields, "batchNorm": {"momentum": 0.9}},
            "dataset": {"train": file, "validation": file, "classes": list(CLASSES)},
            "batchSize": self.batch,
        }

    def _learn(self) -> None:
        storage = {"uri": self.ours.uri("learned")}
        self.ours.run(
            "learned",
            **self.training(),
            steps=self.begun,
            optimizer={"name": "adam", "learningRate": 0.002, "schedule": {"warmupSteps": 20}},
            exports=["ODAPI"],
            checkpoints={"storage": storage, "everySteps": self.begun},
        )
        keras.backend.clear_session()

    def _write(self, name: str, schedule: str, pictures: list[bytes], steps: range) -> None:
        """Write the configurations of `name`, and what the OD API is to read in `steps`."""
        ordered = in_our_order(pictures, self.batch, steps)
        file = write_records(self.folder / f"{name}.tfrecord", ordered)
        labels, rate = self.export / "label_map.pbtxt", self._rates()[schedule]
        for path, records in (
            (self.folder / f"{name}.config", file),
            (self.config_of_ours(name), self.records),
        ):
            path.write_text(pipeline(self.twin.config, records, labels, self.batch, rate))

    def _rates(self) -> Mapping[str, str]:
        """Return the `learning_rate` of each schedule."""
        return {
            "constant": f"constant_learning_rate {{ learning_rate: {self.rate} }}",
            "cosine": f"""cosine_decay_learning_rate {{ learning_rate_base: {40 * self.rate}
              total_steps: {self.whole + 10} warmup_steps: 5 warmup_learning_rate: 0.0 }}""",
        }

    def _go_on(self, schedule: str) -> None:
        """Continue our run, as `detection-trainer run --pipeline-config … --model-dir …` does."""
        place = self.ours
        run = PipelineRun(
            config=str(self.config_of_ours(schedule)),
            model_dir=(self.folder / "start").as_uri(),
            checkpoints=place.uri(schedule),
            steps=self.whole,
        )
        place.run_training(make_training(run, {}), Options(report_period_s=0.0))
        self._lines(schedule).write_text(place.output.getvalue())
        keras.backend.clear_session()

    def _lines(self, schedule: str) -> Path:
        return self.ours.root / f"{schedule}.jsonl"
