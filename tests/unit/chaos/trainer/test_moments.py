import random
import signal
from pathlib import Path

import pytest

from chaos.trainer.kills import Attempt, Kill, Moment, Place, document, draw, steps_for
from detection_trainer.contract.training import parse_training


def moments(stop: signal.Signals, workers: int) -> list[Moment]:
    choice = random.Random(1)  # noqa: S311 - moments, no secrets
    return [draw(choice, stop, workers) for _ in range(300)]


def test_a_seed_gives_the_same_moments_again() -> None:
    assert moments(signal.SIGKILL, 2) == moments(signal.SIGKILL, 2)


def test_kills_fall_into_steps_evaluations_and_both_sides_of_a_write() -> None:
    drawn = moments(signal.SIGKILL, 1)
    assert {moment.phase for moment in drawn} == {"training", "evaluating", "saving"}
    assert {moment.before for moment in drawn if moment.phase == "saving"} == {True, False}
    assert {moment.victims for moment in drawn} == {(0,)}


def test_a_stop_is_asked_for_between_writes() -> None:
    assert "saving" not in {moment.phase for moment in moments(signal.SIGTERM, 1)}


def test_of_two_workers_either_or_both_die_and_the_chief_alone_while_it_saves() -> None:
    drawn = moments(signal.SIGKILL, 2)
    assert {m.victims for m in drawn if m.phase == "training"} == {(0,), (1,), (0, 1)}
    assert {m.victims for m in drawn if m.phase == "saving"} == {(0,)}


def test_no_attempt_reaches_the_target_before_its_kill() -> None:
    drawn = moments(signal.SIGKILL, 1)
    furthest = sum(m.count for m in drawn if m.phase == "training")
    assert furthest < steps_for(drawn)


def test_a_save_beyond_the_last_line_loses_nothing() -> None:
    assert Kill(Moment("training", 3), Attempt(0, 3, 0.1), 4).lost == 0
    assert Kill(Moment("training", 3), Attempt(0, 3, 0.1), 1).lost == 2


@pytest.mark.parametrize("workers", [1, 2])
def test_the_document_is_valid(tmp_path: Path, workers: int) -> None:
    place = Place(tmp_path, tmp_path.as_uri(), workers=workers)
    assert parse_training(document(place, "chaos", 32)).spec.workers == workers
