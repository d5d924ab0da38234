"""`make chaos-trainer`, a small one: one kill in the middle of a save, one of an evaluation."""

from pathlib import Path

from chaos.trainer.kills import Moment, Place, differences, kill_often, steps_for

MOMENTS = [Moment("saving", 5, before=False), Moment("evaluating", 1, delay_s=0.03)]


def test_killed_at_random_moments_a_run_ends_as_the_control(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path.as_uri())
    found = list(kill_often(place, MOMENTS))
    assert [kill.moment for kill in found] == MOMENTS
    assert differences(place, steps_for(MOMENTS)) == []
