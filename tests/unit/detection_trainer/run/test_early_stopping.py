"""When evaluations stop rising."""

import math
from collections.abc import Sequence

import pytest

from detection_trainer.checkpoints.manifest import Patience
from detection_trainer.contract.spec import EarlyStopping
from detection_trainer.run.early_stopping import EarlyStop

TWO = EarlyStopping(patience=2)


def judged(
    scores: Sequence[float], spec: EarlyStopping | None = TWO, carried: Patience | None = None
) -> EarlyStop:
    stop = EarlyStop(spec, 100, carried)
    for step, score in enumerate(scores, start=1):
        stop.judge(step * 10, {"mAP": score})
    return stop


@pytest.mark.parametrize(
    ("scores", "over"),
    [
        pytest.param([], False, id="nothing was evaluated"),
        pytest.param([0.1, 0.2, 0.3], False, id="it rises"),
        pytest.param([0.3, 0.2], False, id="one worse one is too few"),
        pytest.param([0.3, 0.2, 0.1], True, id="two in a row are enough"),
        pytest.param([0.3, 0.3, 0.3], True, id="an equal one is no better"),
        pytest.param([0.3, 0.2, 0.4, 0.3], False, id="a better one restarts the count"),
        pytest.param([math.nan, math.nan], True, id="what is no number is no better"),
        pytest.param([math.nan, 0.1, math.nan], False, id="a number is better than none"),
    ],
)
def test_it_ends_after_enough_evaluations_without_a_better_one(
    scores: list[float],
    over: bool,  # noqa: FBT001 - pytest names what it passes
) -> None:
    assert judged(scores).is_over is over


def test_without_earlystopping_it_never_ends() -> None:
    assert not judged([0.3, 0.2, 0.1], spec=None).is_over


def test_better_means_by_more_than_min_delta() -> None:
    spec = EarlyStopping(patience=2, min_delta=0.05)
    assert judged([0.3, 0.34, 0.35], spec).is_over
    assert not judged([0.3, 0.34, 0.36], spec).is_over


def test_the_metric_may_be_another() -> None:
    stop = EarlyStop(EarlyStopping(patience=1, metric="mAP50"), 100, None)
    stop.judge(10, {"mAP": 0.1, "mAP50": 0.5})
    stop.judge(20, {"mAP": 0.2, "mAP50": 0.4})
    assert stop.is_over


def test_an_evaluation_counts_once() -> None:
    stop = judged([0.3, 0.2])
    stop.judge(20, {"mAP": 0.2})
    assert not stop.is_over


def test_a_resumed_run_counts_on() -> None:
    before = judged([0.3, 0.2]).patience
    resumed = EarlyStop(TWO, 100, before)
    assert resumed.patience == before
    resumed.judge(30, {"mAP": 0.1})
    assert resumed.is_over


def test_raised_steps_restart_the_count_after_an_early_stop() -> None:
    before = judged([0.3, 0.2, 0.1]).patience
    assert EarlyStop(TWO, 100, before).is_over
    raised = EarlyStop(TWO, 200, before)
    assert not raised.is_over
    assert raised.patience.best == 0.3
    raised.judge(40, {"mAP": 0.2})
    assert not raised.is_over


def test_raised_steps_change_no_count_of_a_resumed_run() -> None:
    before = judged([0.3, 0.2]).patience
    assert EarlyStop(TWO, 200, before).patience.misses == 1


def test_the_message_names_the_best_step() -> None:
    assert judged([0.3, 0.2, 0.1]).message(30) == (
        "stopped early at step 30 of 100: mAP did not rise in 2 evaluations "
        "(the best was 0.3000 at step 10)"
    )
    assert "no evaluation gave a number" in judged([math.nan]).message(10)
