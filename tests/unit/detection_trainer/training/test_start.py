from typing import Any

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from detection_trainer.checkpoints.candidate import Candidate
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.errors import CheckpointMissingError, InvalidConfigError
from detection_trainer.training.start import (
    Continue,
    Restore,
    Resume,
    Scratch,
    Start,
    choose_start,
)

RESTORE = {"restore": {"mode": "detection", "from": {"uri": "s3://models/coco/step-00000100"}}}
CONTINUE = {"continueFrom": {"uri": "s3://runs/other"}}
DAMAGED = "model.safetensors: the bytes differ"


def spec(**fields: Any) -> TrainingSpec:
    base = {
        "model": {"backbone": "tiny"},
        "dataset": {"train": {"uri": "file:///data/a.tfrecord"}, "classes": ["tree"]},
        "steps": 10,
        "checkpoints": {"storage": {"uri": "file:///runs/a"}},
    }
    return TrainingSpec.model_validate({**base, **fields})


@pytest.mark.parametrize(
    ("own", "given", "expected"),
    [
        pytest.param([], {}, Scratch(), id="no checkpoint and no source: scratch"),
        pytest.param(
            [],
            RESTORE,
            Restore(RestoreMode.DETECTION, "s3://models/coco/step-00000100"),
            id="a new run restores",
        ),
        pytest.param([], CONTINUE, Continue("s3://runs/other"), id="a new run continues another"),
        pytest.param([Candidate(5)], {}, Resume(5), id="an own checkpoint beats scratch"),
        pytest.param([Candidate(0)], RESTORE, Resume(0), id="an own checkpoint beats restore"),
        pytest.param(
            [Candidate(7)], CONTINUE, Resume(7), id="an own checkpoint beats continueFrom"
        ),
        pytest.param([Candidate(5), Candidate(9)], {}, Resume(9), id="the newest is taken"),
        pytest.param(
            [Candidate(3)],
            {"restore": {"mode": "full", "from": {"trainingRef": {"name": "gone"}}}},
            Resume(3),
            id="an unresolved source is ignored once a checkpoint exists",
        ),
    ],
)
def test_precedence(own: list[Candidate], given: dict[str, Any], expected: Start) -> None:
    assert choose_start(own, spec(**given)) == expected


def test_damaged_checkpoints_are_skipped_for_the_one_before_and_logged() -> None:
    own = [Candidate(9, DAMAGED), Candidate(6, DAMAGED), Candidate(3)]
    start = choose_start(own, spec(**RESTORE))
    assert isinstance(start, Resume)
    assert start.step == 3
    assert [(s.step, s.problem) for s in start.skipped] == [(9, DAMAGED), (6, DAMAGED)]


@pytest.mark.parametrize("given", [{}, RESTORE, CONTINUE])
def test_never_silently_from_zero_where_only_damaged_ones_are(given: dict[str, Any]) -> None:
    with pytest.raises(CheckpointMissingError, match=r"none of the 2 checkpoints.*step 9"):
        choose_start([Candidate(9, DAMAGED), Candidate(6, DAMAGED)], spec(**given))


def test_never_silently_from_zero_where_a_recorded_one_vanished() -> None:
    with pytest.raises(CheckpointMissingError, match="step 400 is recorded"):
        choose_start([], spec(), recorded_step=400)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"continueFrom": {"trainingRef": {"name": "trees"}}}, "continueFrom.uri"),
        (
            {"restore": {"mode": "full", "from": {"trainingRef": {"name": "trees"}}}},
            "restore.from.uri",
        ),
    ],
)
def test_a_reference_needs_a_cluster(given: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidConfigError, match=f"'trees'.*set {field}"):
        choose_start([], spec(**given))


CANDIDATES = st.dictionaries(st.integers(0, 50), st.none() | st.just(DAMAGED), max_size=8).map(
    lambda problems: [Candidate(step, problem) for step, problem in problems.items()]
)


@drawn(
    own=CANDIDATES,
    given=st.sampled_from([{}, RESTORE, CONTINUE]),
    recorded=st.none() | st.integers(0, 50),
)
def test_a_run_resumes_from_its_newest_valid_checkpoint_or_never_started(
    own: list[Candidate], given: dict[str, Any], recorded: int | None
) -> None:
    valid = [candidate.step for candidate in own if candidate.problem is None]
    if not valid and (own or recorded is not None):
        with pytest.raises(CheckpointMissingError):
            choose_start(own, spec(**given), recorded)
        return
    start = choose_start(own, spec(**given), recorded)
    if not valid:
        assert start == choose_start([], spec(**given))
        return
    assert isinstance(start, Resume)
    assert start.step == max(valid)
    newer = sorted((c.step for c in own if c.step > start.step), reverse=True)
    assert [skipped.step for skipped in start.skipped] == newer
