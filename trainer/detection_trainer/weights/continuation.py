"""Whether a run may go on from another's checkpoint, exactly: pure, nothing is read or assigned."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from detection_trainer.checkpoints.manifest import MODEL_FILE, Manifest
from detection_trainer.contract.base import dump
from detection_trainer.contract.report import Restored, VariableCounts
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import InvalidConfigError, RestoreRefusedError


def require_continuable(source: Manifest, uri: str, spec: TrainingSpec, classes: list[str]) -> None:
    """Compare the source's classes, model and optimizer with the new run's.

    Raises:
        RestoreRefusedError: they differ; each difference is named.
        InvalidConfigError: the target does not lie beyond the source's step.
    """
    differences = compare_for_continue(source, spec, classes)
    if differences:
        msg = (
            f"continueFrom {uri} takes a run with the same classes, model and optimizer; "
            f"{differences[0]}: {advice(differences)}"
        )
        raise RestoreRefusedError(msg, differences)
    if spec.steps <= source.step:
        msg = (
            f"steps {spec.steps} is reached already by continueFrom {uri}, which stands at step "
            f"{source.step}: steps is the absolute total, so give more than {source.step}"
        )
        raise InvalidConfigError(msg)


def compare_for_continue(source: Manifest, spec: TrainingSpec, classes: list[str]) -> list[str]:
    """Return what differs, one sentence each; empty where the run can go on exactly."""
    differences = []
    if source.classes != classes:
        differences.append(f"classes: there {source.classes}, here {classes}")
    theirs, mine = _flat(dump(source.model), "model"), _flat(dump(spec.model), "model")
    differences += [
        f"{field}: there {theirs.get(field)}, here {mine.get(field)}"
        for field in sorted(theirs.keys() | mine.keys())
        if theirs.get(field) != mine.get(field)
    ]
    if source.optimizer != spec.optimizer.name:
        differences.append(f"optimizer.name: there {source.optimizer}, here {spec.optimizer.name}")
    mine_averaged = spec.optimizer.moving_average_decay is not None
    if bool(source.averaged) != mine_averaged:
        there, here = ("kept" if kept else "none" for kept in (source.averaged, mine_averaged))
        differences.append(f"optimizer.movingAverageDecay: averages there {there}, here {here}")
    return differences


def advice(differences: Sequence[str]) -> str:
    """Return which restore helps where a run cannot go on."""
    if all(difference.startswith("optimizer.") for difference in differences):
        return "use restore instead (mode full keeps all weights; step and optimizer begin anew)"
    return (
        "use restore instead (mode detection keeps backbone and feature extractor, and the heads "
        "begin fresh)"
    )


def continued(source: Manifest, uri: str) -> Restored:
    """Return the provenance of a run that goes on from `source`: every variable was taken over."""
    groups = [v.group for v in source.variables.values() if v.file == MODEL_FILE]
    return all_taken_over(uri, source.step, source.digest, groups)


def all_taken_over(
    uri: str, step: int | None, digest: str | None, groups: Sequence[str]
) -> Restored:
    """Return the provenance of a run that took over one variable for each of `groups`."""
    counts = Counter(groups)
    return Restored(
        uri=uri,
        step=step,
        digest=digest,
        variables=VariableCounts(restored=len(groups), fresh=0),
        groups={name: VariableCounts(restored=count, fresh=0) for name, count in counts.items()},
    )


def _flat(value: Any, path: str) -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts = [_flat(inner, f"{path}.{key}") for key, inner in value.items()]
        return {key: inner for part in parts for key, inner in part.items()}
    return {path: value}
