from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detection_trainer.checkpoints.retention import Scored, best_first, choose_deletions
from detection_trainer.contract.saving import Checkpoints


def policy(**fields: Any) -> Checkpoints:
    return Checkpoints.model_validate({"storage": {"uri": "file:///runs/a"}, **fields})


def steps(*numbers: int) -> list[Scored]:
    return [Scored(number) for number in numbers]


@pytest.mark.parametrize(
    ("checkpoints", "given", "deleted"),
    [
        pytest.param([], {}, [], id="nothing is deleted from an empty folder"),
        pytest.param(steps(0), {"keepLast": 1}, [], id="the only one stays"),
        pytest.param(steps(0, 10, 20, 30), {"keepLast": 2}, [0, 10], id="the newest keepLast stay"),
        pytest.param(
            [Scored(10, 0.9), Scored(20, 0.1), Scored(30)],
            {"keepLast": 1, "keepBest": 1},
            [20],
            id="the best stays although it is old",
        ),
        pytest.param(
            [Scored(10, 0.9), Scored(20, 0.1), Scored(30)],
            {"keepLast": 1, "keepBest": 0},
            [10, 20],
            id="keepBest 0 keeps none for its metrics",
        ),
        pytest.param(
            steps(0, 100, 150, 200, 250),
            {"keepLast": 1, "keepEverySteps": 100},
            [0, 150],
            id="multiples of keepEverySteps stay, step 0 does not",
        ),
        pytest.param(
            steps(30, 10, 20), {"keepLast": 1}, [10, 20], id="the order given does not matter"
        ),
    ],
)
def test_deletions(checkpoints: list[Scored], given: dict[str, Any], deleted: list[int]) -> None:
    assert choose_deletions(checkpoints, policy(**given)) == deleted


def test_the_newest_is_never_deleted() -> None:
    for keep_last in (1, 3):
        for keep_best in (0, 2):
            chosen = choose_deletions(
                [Scored(s, float(-s)) for s in range(10)],
                policy(keepLast=keep_last, keepBest=keep_best),
            )
            assert 9 not in chosen


def test_of_equal_scores_the_later_is_better() -> None:
    ranked = best_first([Scored(1, 0.5), Scored(2, 0.5), Scored(3), Scored(4, 0.4)])
    assert [c.step for c in ranked] == [2, 1, 4]


SCORES = st.none() | st.floats(0.0, 1.0)
POLICIES = st.builds(
    lambda last, best, every: policy(keepLast=last, keepBest=best, keepEverySteps=every),
    st.integers(1, 5),
    st.integers(0, 3),
    st.none() | st.integers(1, 20),
)


@given(scores=st.dictionaries(st.integers(0, 100), SCORES, max_size=20), policy=POLICIES)
def test_every_rule_applies_to_any_folder(
    scores: dict[int, float | None], policy: Checkpoints
) -> None:
    there = [Scored(step, score) for step, score in scores.items()]
    deleted = choose_deletions(there, policy)
    kept = [scored for scored in there if scored.step not in deleted]
    newest = sorted(scores, reverse=True)[: policy.keep_last]
    assert deleted == sorted(set(deleted))
    assert not set(deleted) & set(newest)
    best = best_first(there)[: policy.keep_best]
    assert set(best) <= set(kept)
    every = policy.keep_every_steps
    marked = {step for step in scores if every and step > 0 and step % every == 0}
    assert not marked & set(deleted)
    # Nothing stays without a reason, and what stayed once stays when nothing has changed.
    assert {c.step for c in kept} == set(newest) | {c.step for c in best} | marked
    assert choose_deletions(kept, policy) == []
