"""Continues a model_dir of the OD API with its step, weights, momentum and averages.

Only a training checkpoint has these; the OD API itself continues its model_dir in the same way. The
schedule is that of the new run: `decaySteps` is the configuration's `total_steps`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from detection_trainer.checkpoints.manifest import AVERAGE
from detection_trainer.contract.continue_check import RunTraits, continue_refusal
from detection_trainer.contract.report import Restored
from detection_trainer.contract.shapes import variable_shapes
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import RestoreRefusedError
from detection_trainer.weights.continuation import (
    all_restored,
    require_same_traits,
    require_steps_beyond,
)
from detection_trainer.weights.odapi.checkpoint import ODAPIWeights

ITERATION = "optimizer/iteration"
SLOT = "momentum"
OPTIMIZER = "momentum"
"""The only optimizer whose state is read from a checkpoint of the OD API."""
AVERAGE_SLOT = "average"
WITHIN_AVERAGES = "ema_base_optimizer/"
"""`use_moving_average` wraps the optimizer in another one, which has the averages."""
Arrays = dict[str, npt.NDArray[Any]]


def require_continuable(source: ODAPIWeights, spec: TrainingSpec, num_classes: int) -> int:
    """Compare the checkpoint with the new run and return the checkpoint's step.

    Raises:
        RestoreRefusedError: it has another model, no step, or no momentum.
        InvalidConfigError: the target is not above its step.
    """
    uri = source.uri
    if source.step is None:
        raise RestoreRefusedError(
            f"continueFrom {uri}: the checkpoint has a model and no step, as those of the model "
            "zoo, so it cannot be continued: use restore, with mode full for the same classes"
        )
    if {source.optimizer or OPTIMIZER, spec.optimizer.name} != {OPTIMIZER}:
        names = f"there {source.optimizer or 'none'}, here {spec.optimizer.name}"
        differences = [
            f"optimizer.name: {names}; of the OD API's optimizers only momentum can be continued"
        ]
        raise RestoreRefusedError(continue_refusal(uri, differences), differences)
    theirs = RunTraits(OPTIMIZER, source.averaged, shapes=source.shapes)
    mine = RunTraits.of_spec(spec, None, variable_shapes(spec.model, num_classes))
    require_same_traits(uri, theirs, mine)
    require_steps_beyond(uri, source.step, spec)
    return source.step


def load_state(
    source: ODAPIWeights, step: int, trainable: list[str], slots: Mapping[str, Any]
) -> tuple[Arrays, Arrays]:
    """Return weights and optimizer state in the form of our checkpoints.

    Args:
        source: a checkpoint that `require_continuable` accepted.
        step: its step.
        trainable: the paths that are trained.
        slots: the optimizer's variables by path; those that the OD API lacks keep their values.

    Raises:
        RestoreRefusedError: a trainable variable has no momentum, or no average.
    """
    momentum = f"{WITHIN_AVERAGES}{SLOT}" if source.averaged else SLOT
    state = {path: np.array(variable.numpy()) for path, variable in slots.items()}
    state |= _read_slots(source, momentum, f"optimizer/{SLOT}/", trainable)
    if source.averaged:
        state |= _read_slots(source, AVERAGE_SLOT, AVERAGE, trainable)
    state[ITERATION] = np.array(step, np.int64)
    return source.read(source.shapes), state


def _read_slots(source: ODAPIWeights, slot: str, prefix: str, trainable: list[str]) -> Arrays:
    """Return the optimizer's `slot` of all trainable variables, below `prefix` as ours are."""
    found = source.read_slots(slot, trainable)
    missing = [path for path in trainable if path not in found]
    if missing:
        raise RestoreRefusedError(
            f"continueFrom {source.uri}: {len(missing)} of {len(trainable)} variables have no "
            f"{slot} in the checkpoint, such as {missing[0]}: freeze the groups that were frozen "
            "in that run, or use restore"
        )
    return {f"{prefix}{path}": value for path, value in found.items()}


def provenance(source: ODAPIWeights, digest: str | None) -> Restored:
    """Return the record of the continued run: every variable was restored."""
    groups = [path.partition("/")[0] for path in source.shapes]
    return all_restored(source.uri, source.step, digest, groups)
