"""What a restore writes: by the OD API's loader and by ours, in one form.

Before each, every variable is filled with SENTINEL: what differs from it afterwards was written.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from detection_trainer.contract.model import Model
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.models import Detector
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights, find_bundle
from detection_trainer.weights.restore import restore
from detection_trainer.weights.sources import Weights
from tests.odapi.twins import read_json, run_reference

SENTINEL = 7.25
"""That of reference.py."""
PARTS = ("backbone", "fpn", "coarse", "tower", "box", "class")
TABLE = {
    RestoreMode.CLASSIFICATION: {"backbone"},
    RestoreMode.DETECTION: {"backbone", "fpn", "coarse"},
    RestoreMode.FULL: set(PARTS),
}
"""The parts that each mode restores."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one restore."""

    error: str | None
    written: Mapping[str, int]
    """Part -> how many of its variables were written."""
    values: Mapping[str, Any]
    """Our path -> value afterwards."""


def restored_by_od_api(
    config: Path, checkpoint: Path, folder: Path, model: Model
) -> dict[RestoreMode, Outcome]:
    """Let the OD API restore `checkpoint` into the model of `config`, which is `model`."""
    run_reference("restore", config, checkpoint, folder)
    outcomes = read_json(folder / "outcomes.json")
    return {
        mode: Outcome(**outcomes[mode], values=all_values((folder / mode).as_uri(), model))
        for mode in RestoreMode
    }


def restored_by_us(detector: Detector, source: Weights, mode: RestoreMode) -> Outcome:
    """Let ours restore `source` into `detector`."""
    for variable in detector.variables.values():
        variable.assign(np.full(variable.shape, SENTINEL, np.float32))
    error = None
    try:
        restore(detector, mode, source)
    except RestoreRefusedError as refused:
        error = str(refused)
    values = {path: variable.numpy() for path, variable in detector.variables.items()}
    written = Counter(map(part_of, changed(values)))
    return Outcome(error, {part: written[part] for part in PARTS}, values)


def all_values(uri: str, model: Model) -> dict[str, Any]:
    """Return every variable of a checkpoint of the OD API, under our path."""
    weights = read_weights(uri, model)
    return weights.read(weights.shapes)


def read_weights(uri: str, model: Model) -> ODAPIWeights:
    """Return the OD API's checkpoint at `uri`."""
    bundle = find_bundle(uri, {})
    assert bundle is not None
    return ODAPIWeights(bundle, model)


def changed(values: Mapping[str, Any]) -> list[str]:
    """Return the paths of what was written."""
    return [path for path, value in values.items() if np.any(value != SENTINEL)]


def part_of(path: str) -> str:
    """Return the part that reference.py counts our variable in."""
    group, _, rest = path.partition("/")
    match group:
        case "feature_extractor":
            return "coarse" if rest.startswith("coarse_") else "fpn"
        case "box_head" | "class_head":
            return group.removesuffix("_head") if rest.startswith("predictor/") else "tower"
        case _:
            return group


def require_equal(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Demand the same variables, bit for bit."""
    assert ours.keys() == theirs.keys()
    for path, value in ours.items():
        np.testing.assert_array_equal(value, theirs[path], err_msg=path)
