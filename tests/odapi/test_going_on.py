"""One training, started by the OD API, continued by ours, and continued again by the OD API.

Two pictures in batches of two, so that every step sees both, in whichever order. The OD API trains
three steps. Ours continues from its checkpoint of step 2 and trains the third; both continue from
that, the OD API from our export, and train the fourth.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from detection_trainer.checkpoints.manifest import AVERAGE
from detection_trainer.contract.model import Model
from detection_trainer.contract.pipeline_config.mapping import read_pipeline_config
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights
from tests.odapi.restoring import part_of, read_weights, require_equal, restored_by_od_api
from tests.odapi.runs import picture_of_shapes, pipeline, write_label_map, write_records
from tests.odapi.twins import MOBILENET_V2, configured, fpn_lite, run_reference
from tests.support.trainer.attempts import RunPlace

pytestmark = pytest.mark.timeout(1800)
SIDE, STEPS = 128, 3
RATE, DECAY = "constant_learning_rate { learning_rate: 0.01 }", 0.5
EXPORT = "run/export/odapi-00000003"
MOMENTUM = "optimizer/momentum/"
TOLERANCES = {
    **dict.fromkeys(("statistics", "coarse", "box", "class"), 1e-4),
    **dict.fromkeys(("backbone", "fpn", "tower"), 0.05),
}
"""Of a step's length. Gradients that come through many fresh batch normalisations amplify float32's
rounding: our own step differs from itself by 0.01 in the backbone and 0.005 in the FPN where the
two pictures are in the other order. What the momentum adds is 0.6 to 0.8 of it."""


@dataclass(frozen=True, slots=True)
class Course:
    """The OD API's own training, in `model_dir`: `ckpt-(n + 1)` is of step n."""

    folder: Path
    model: Model
    averages: bool

    @property
    def config(self) -> Path:
        return self.folder / "pipeline.config"

    @property
    def model_dir(self) -> Path:
        return self.folder / "model_dir"

    def at(self, step: int) -> ODAPIWeights:
        """Return the OD API's checkpoint of `step`."""
        weights = read_weights(f"{self.model_dir.as_uri()}/ckpt-{step + 1}", self.model)
        assert weights.step == step
        return weights

    def training(self, steps: int) -> dict[str, Any]:
        """Return our training of the same configuration."""
        fields = read_pipeline_config(self.config.read_text()).fields
        source = {"uri": f"{self.model_dir.as_uri()}/ckpt-3"}
        return {**fields, "steps": steps, "continueFrom": source}


def courses(**ids: bool) -> pytest.MarkDecorator:
    """Run a test on courses without averages, with them, or both."""
    return pytest.mark.parametrize(
        "course", list(ids.values()), ids=list(ids), indirect=True, scope="module"
    )


@pytest.fixture(scope="module")
def course(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("course")
    records = write_records(folder / "train.tfrecord", map(picture_of_shapes, range(2)))
    model = fpn_lite(configured(MOBILENET_V2, SIDE), shared=True)
    average = DECAY if request.param else None
    text = pipeline(model, records, write_label_map(folder), 2, RATE, average)
    fields = read_pipeline_config(text).fields
    found = Course(folder, Model.model_validate(fields["model"]), request.param)
    found.config.write_text(text)
    run_reference("train", found.config, found.model_dir, STEPS, 1)
    return found


@pytest.fixture(scope="module")
def continued(course: Course) -> Iterator[RunPlace]:
    """Our run in `run`, continued from the OD API's step 2 to step 3."""
    place = RunPlace(course.folder)
    place.run("run", **course.training(3), exports=["ODAPI"])
    yield place
    keras.backend.clear_session()


@courses(momentum=False, averages=True)
def test_our_run_continues_as_the_od_api_would_have(course: Course, continued: RunPlace) -> None:
    weights, optimizer = continued.at("run", 3).load()
    before, theirs = course.at(2).read(weights), course.at(3)
    require_same_move(weights, theirs.read(weights), before)
    momentum = below(MOMENTUM, optimizer)
    wrapped = "ema_base_optimizer/" if course.averages else ""
    require_same_move(momentum, theirs.read_slots(f"{wrapped}momentum", momentum))
    assert optimizer["optimizer/iteration"] == 3
    averages = below(AVERAGE, optimizer)
    assert bool(averages) == course.averages
    if averages:
        before = course.at(2).read_slots("average", averages)
        require_same_move(averages, theirs.read_slots("average", averages), before)


@courses(momentum=False)
def test_the_od_api_continues_from_our_export_as_our_run_does(
    course: Course, continued: RunPlace, tmp_path: Path
) -> None:
    before, _ = continued.at("run", 3).load()
    shutil.copytree(course.folder / EXPORT, tmp_path / "model_dir")
    run_reference("train", course.config, tmp_path / "model_dir", STEPS + 1, 1)
    theirs = read_weights((tmp_path / "model_dir").as_uri(), course.model)
    assert theirs.uri.endswith("/ckpt-2"), "the save counter continues too"
    assert theirs.step == 4
    continued.run("run", **course.training(4))
    weights, optimizer = continued.at("run", 4).load()
    require_same_move(weights, theirs.read(weights), before)
    momentum = below(MOMENTUM, optimizer)
    require_same_move(momentum, theirs.read_slots("momentum", momentum))


@courses(averages=True)
def test_of_averages_the_weights_alone_are_exported(course: Course, continued: RunPlace) -> None:
    _, optimizer = continued.at("run", 3).load()
    averages = below(AVERAGE, optimizer)
    exported = read_weights((course.folder / EXPORT).as_uri(), course.model)
    require_equal(exported.read(averages), averages)
    assert exported.read_slots("momentum", averages) == {}


@courses(momentum=False)
def test_a_checkpoint_from_before_the_model_was_built_is_recognised(
    course: Course, tmp_path: Path
) -> None:
    with pytest.raises(RestoreRefusedError, match="before it builds the model; take a later"):
        read_weights(f"{course.model_dir.as_uri()}/ckpt-1", course.model)
    theirs = restored_by_od_api(course.config, course.model_dir / "ckpt-1", tmp_path, course.model)
    for mode, outcome in theirs.items():
        assert outcome.error is not None, mode
        assert outcome.error.startswith("AssertionError: ")
        assert not any(outcome.written.values())


def below(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values below `prefix`, by the rest of their paths."""
    return {p.removeprefix(prefix): v for p, v in arrays.items() if p.startswith(prefix)}


def require_same_move(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> None:
    """Demand that ours moved from `before` (else from 0) as theirs did, part by part."""
    assert ours.keys() == theirs.keys()
    apart: dict[str, float] = defaultdict(float)
    moved: dict[str, float] = defaultdict(float)
    for path, value in ours.items():
        part = "statistics" if "moving_" in path else part_of(path)
        start = 0.0 if before is None else before[path]
        apart[part] += float(np.square(value - theirs[path]).sum())
        moved[part] += float(np.square(theirs[path] - start).sum())
    for part, tolerance in TOLERANCES.items():
        if part in moved:
            assert moved[part] > 0.0, part
            assert (apart[part] / moved[part]) ** 0.5 < tolerance, part
