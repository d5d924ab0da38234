"""`make chaos-trainer`, a small one: one kill in the middle of a save, one of an evaluation."""

import random
from pathlib import Path

from chaos.trainer.kills import Place, differences, kill_often


def test_killed_at_random_moments_a_run_ends_as_the_control(tmp_path: Path) -> None:
    place = Place(tmp_path, tmp_path.as_uri())
    found = list(kill_often(place, 2, random.Random(17)))  # noqa: S311 - moments, no secrets
    assert [kill.moment.phase for kill in found] == ["saving", "evaluating"]
    assert differences(place, 2) == []
