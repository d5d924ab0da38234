"""Restores weights from a source into a detector: compares everything, then assigns.

The modes are those of the OD API. A mismatch is never skipped, and a group is never restored in
part. Called once per run, before its step 0 is committed.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from detection_trainer.contract.base import written_digest
from detection_trainer.contract.report import Restored, VariableCounts
from detection_trainer.contract.restore_check import RestorePlan, compare_for_restore
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.errors import RestoreRefusedError, TrainerError
from detection_trainer.models.detector import Detector
from detection_trainer.weights.sources import Weights

Arrays = dict[str, npt.NDArray[Any]]


def restore(
    detector: Detector,
    mode: RestoreMode,
    source: Weights,
    classes: Sequence[str] | None = None,
    on_restored: Callable[[RestorePlan], None] = lambda _: None,
) -> Restored:
    """Assign what `mode` restores from `source`, verify it, and return the record of it.

    Args:
        detector: its variables are assigned.
        mode: decides the groups.
        source: its names and shapes are compared before a tensor is read.
        classes: the detector's, in order; `full` compares them with the source's.
        on_restored: receives the plan after all variables are assigned.

    Returns:
        What was restored, to be recorded in the run's checkpoints.

    Raises:
        RestoreRefusedError: the source does not match; no variable was changed.
    """
    shapes = {path: tuple(variable.shape) for path, variable in detector.variables.items()}
    plan = compare_for_restore(
        mode,
        source.shapes,
        shapes,
        source.classes,
        None if classes is None else list(classes),
        source_model=source.model,
        target_model=detector.spec,
    )
    if plan.differences:
        raise RestoreRefusedError(plan.refusal(source.uri), plan.differences)
    arrays = source.read(plan.assign)
    _require_header_true(detector, plan, arrays, source.uri)
    for path in plan.assign:
        detector.variables[path].assign(arrays[path])
    _verify(detector, plan, arrays, source.uri)
    on_restored(plan)
    return Restored(
        mode=mode,
        uri=source.uri,
        step=source.step,
        digest=source.digest or weights_digest(arrays),
        variables=VariableCounts(restored=len(plan.assign), fresh=len(plan.fresh)),
        groups=_counts_by_group(plan),
    )


def weights_digest(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return `sha256:<hex>` over paths and raw bytes, sorted by path."""
    digest = hashlib.sha256()
    for path in sorted(arrays):
        digest.update(path.encode() + b"\0")
        digest.update(np.ascontiguousarray(arrays[path]).tobytes())
    return written_digest(digest)


def _require_header_true(detector: Detector, plan: RestorePlan, arrays: Arrays, uri: str) -> None:
    """Check that the bytes of a source match its header, before a variable is changed."""
    differences = []
    for path in plan.assign:
        variable, array = detector.variables[path], arrays.get(path)
        if array is None or array.shape != tuple(variable.shape):
            found = "nothing" if array is None else f"shape {array.shape}"
            differences.append(f"{path}: the source gave {found}, not {tuple(variable.shape)}")
        elif array.dtype != variable.dtype:
            differences.append(f"{path}: the source has {array.dtype}, the model {variable.dtype}")
        elif not np.isfinite(array).all():
            differences.append(f"{path}: the source holds values that are not finite")
    if differences:
        msg = (
            f"the variables in {uri} differ from its header, and no variable was assigned: "
            f"{'; '.join(differences[:3])}: choose another checkpoint"
        )
        raise RestoreRefusedError(msg, differences)


def _verify(detector: Detector, plan: RestorePlan, arrays: Arrays, uri: str) -> None:
    assigned = {path: detector.variables[path].numpy() for path in plan.assign}
    found, expected = weights_digest(assigned), weights_digest(arrays)
    if found != expected:
        msg = (
            f"after restoring from {uri} the variables' digest is {found}, expected {expected}: "
            "the device does not keep what it is given; run on another node"
        )
        raise TrainerError(msg)


def _counts_by_group(plan: RestorePlan) -> dict[str, VariableCounts]:
    restored = Counter(map(Detector.group_of, plan.assign))
    fresh = Counter(map(Detector.group_of, plan.fresh))
    return {
        group: VariableCounts(restored=restored[group], fresh=fresh[group])
        for group in dict.fromkeys((*restored, *fresh))
    }
