"""Each restore mode restores exactly its groups of variables; continueFrom restores everything."""

from dataclasses import dataclass

import numpy as np
import pytest

from detection_trainer.checkpoints.format import Arrays
from sandbox.site.kube import Object, condition
from tests.support.cluster.site import CONTROL_STEPS, LiveTraining, Result, Workspace, dataset

SOURCE_STEPS = 40
GROUPS = ("backbone", "feature_extractor", "box_head", "class_head")
THREE_CLASSES = dataset(classes=["square", "disc", "star"])


@dataclass(frozen=True)
class Mode:
    """One restore mode: what it restores, and a target that only this mode fits."""

    restored: tuple[str, ...]
    spec: Object


MODES = {
    "classification": Mode(("backbone",), {"dataset": THREE_CLASSES}),
    "detection": Mode(("backbone", "feature_extractor"), {"dataset": THREE_CLASSES}),
    "full": Mode(GROUPS, {}),
}


@pytest.fixture(scope="module")
def source(shared_workspace: Workspace) -> LiveTraining:
    """Train what is restored from."""
    training = shared_workspace.train("source", steps=SOURCE_STEPS)
    training.wait_for_phase("Complete")
    return training


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_restores_its_groups(
    mode: str, source: LiveTraining, shared_workspace: Workspace
) -> None:
    restore = {"mode": mode, "from": {"trainingRef": {"name": source.name}}}
    # Another seed: with the same one, fresh variables would be equal.
    target = shared_workspace.train(mode, steps=1, seed=7, restore=restore, **MODES[mode].spec)
    status = target.wait_for_phase("Complete")
    before, after = source.weights(SOURCE_STEPS), target.weights(0)
    alike = {group for group in GROUPS if is_alike(group, before, after)}
    assert alike == set(MODES[mode].restored)
    assert [group for group in GROUPS if differs(group, before, after)] == [
        group for group in GROUPS if group not in MODES[mode].restored
    ]
    require_reported(status, mode, before)
    slots = target.checkpoint(0).load()[1]
    assert not any(np.any(slot) for slot in slots.values()), "step and optimizer begin at 0"


def is_alike(group: str, before: Arrays, after: Arrays) -> bool:
    paths = {path for path in before.keys() | after.keys() if path.startswith(f"{group}/")}
    assert paths
    return all(
        path in before and path in after and np.array_equal(before[path], after[path])
        for path in paths
    )


def differs(group: str, before: Arrays, after: Arrays) -> bool:
    """Return whether all of the group's kernels are other ones."""
    kernels = [path for path in after if path.startswith(f"{group}/") and path.endswith("kernel")]
    assert kernels
    return not any(np.array_equal(before[path], after[path]) for path in kernels)


def require_reported(status: Object, mode: str, before: Arrays) -> None:
    restored = status["restored"]
    assert (restored["mode"], restored["step"]) == (mode, SOURCE_STEPS)
    assert restored["uri"].endswith(f"/source/step-{SOURCE_STEPS:08d}")
    assert restored["digest"].startswith("sha256:")
    counts = restored["groups"]
    for group in GROUPS:
        count = sum(path.startswith(f"{group}/") for path in before)
        is_restored = group in MODES[mode].restored
        assert counts[group]["restored"] == (count if is_restored else 0)
        assert (counts[group]["fresh"] == 0) == is_restored
    total = sum(c["restored"] for c in counts.values())
    assert restored["variables"]["restored"] == total
    reported = condition({"status": status}, "Restored")
    assert (reported["status"], reported["reason"]) == ("True", "RestoredFromSource")


def test_continue_from_starts_at_the_step_of_the_source(
    source: LiveTraining, shared_workspace: Workspace, control: Result
) -> None:
    going_on = shared_workspace.train(
        "going-on", steps=CONTROL_STEPS, continueFrom={"trainingRef": {"name": source.name}}
    )
    status = going_on.wait_for_phase("Complete")
    assert status["currentAttempt"]["resumedFromStep"] == SOURCE_STEPS
    theirs, mine = (t.checkpoint(SOURCE_STEPS).load() for t in (source, going_on))
    for before, after in zip(theirs, mine, strict=True):
        assert before.keys() == after.keys()
        assert all(np.array_equal(before[path], after[path]) for path in before)
    assert condition({"status": status}, "Restored")["reason"] == "ContinuedFromSource"
    assert Result.of(status) == control, "as one training of that many steps"
