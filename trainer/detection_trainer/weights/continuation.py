"""Decides whether a run may continue another's checkpoint exactly: pure, reads nothing."""

from collections import Counter
from collections.abc import Sequence
from typing import get_args

from detection_trainer.checkpoints.manifest import MODEL_FILE, Manifest
from detection_trainer.contract.continue_check import (
    RunTraits,
    compare_for_continue,
    continue_refusal,
    reached_refusal,
)
from detection_trainer.contract.report import Restored, VariableCounts
from detection_trainer.contract.spec import Group, TrainingSpec
from detection_trainer.errors import InvalidConfigError, RestoreRefusedError

OPTIMIZER = "optimizer"


def require_continuable(source: Manifest, uri: str, spec: TrainingSpec, classes: list[str]) -> None:
    """Compare the source's run with the new one.

    Raises:
        RestoreRefusedError: they differ; the error names each difference.
        InvalidConfigError: the target is not above the source's step.
    """
    require_same_traits(uri, traits_of(source), RunTraits.of_spec(spec, classes))
    require_steps_beyond(uri, source.step, spec)


def require_same_traits(uri: str, source: RunTraits, target: RunTraits) -> None:
    """Compare two runs.

    Raises:
        RestoreRefusedError: they differ; the error names each difference.
    """
    differences = compare_for_continue(source, target)
    if differences:
        raise RestoreRefusedError(continue_refusal(uri, differences), differences)


def require_steps_beyond(uri: str, step: int, spec: TrainingSpec) -> None:
    """Compare the target with the step of the source.

    Raises:
        InvalidConfigError: the target is not above it.
    """
    refusal = reached_refusal(uri, step, spec.steps)
    if refusal is not None:
        raise InvalidConfigError(refusal)


def traits_of(source: Manifest) -> RunTraits:
    """Return the traits of the run that wrote a checkpoint's manifest."""
    return RunTraits(
        optimizer=source.optimizer,
        averaged=bool(source.averaged),
        classes=source.classes,
        model=source.model,
        frozen=_frozen(source),
    )


def _frozen(source: Manifest) -> frozenset[str] | None:
    """Return the groups without optimizer state: the frozen ones, which no manifest lists."""
    slots = [path.split("/") for path in source.variables if path.count("/") > 1]
    trained = {parts[2] for parts in slots if parts[0] == OPTIMIZER}
    groups = {v.group for v in source.variables.values() if v.file == MODEL_FILE}
    return frozenset((groups - trained) & set(get_args(Group))) if trained else None


def continued(source: Manifest, uri: str) -> Restored:
    """Return the record of a run that continues `source`: every variable was restored."""
    groups = [v.group for v in source.variables.values() if v.file == MODEL_FILE]
    return all_restored(uri, source.step, source.digest, groups)


def all_restored(uri: str, step: int | None, digest: str | None, groups: Sequence[str]) -> Restored:
    """Return the record of a run that restored one variable for each of `groups`."""
    counts = Counter(groups)
    return Restored(
        uri=uri,
        step=step,
        digest=digest,
        variables=VariableCounts(restored=len(groups), fresh=0),
        groups={name: VariableCounts(restored=count, fresh=0) for name, count in counts.items()},
    )
