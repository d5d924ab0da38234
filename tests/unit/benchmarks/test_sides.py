from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.trainer.bench import alternate
from benchmarks.trainer.documents import write_training
from benchmarks.trainer.shapes import CLASSES, write_shapes
from benchmarks.trainer.side import Side, SideError, Stretch
from detection_trainer.contract.training import read_training
from detection_trainer.data.dataset import open_dataset

MODULE = "tests.support.programs.counting_side"


@pytest.fixture
def side(tmp_path: Path) -> Iterator[Side]:
    with closing(Side(MODULE, [], tmp_path)) as started:
        yield started


def test_a_side_trains_in_stretches_and_is_evaluated_between_them(side: Side) -> None:
    stretch = side.go(8)
    assert stretch == Stretch(steps=8, seconds=2.0, waited_s=0.5, cpu_s=stretch.cpu_s)
    assert side.go(20).steps_per_second == 4.0
    assert side.evaluate() == 0.28
    assert side.peak_memory_mib > 1.0


def test_sides_take_turns_for_every_round(side: Side, tmp_path: Path) -> None:
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with closing(Side(MODULE, [], other_folder)) as other:
        found = alternate([side, other], [10, 2], rounds=3)
        assert [[stretch.steps for stretch in stretches] for stretches in found] == [
            [10] * 3,
            [2] * 3,
        ]
        assert (side.evaluate(), other.evaluate()) == (0.3, 0.06)


def test_a_stretch_reports_speed_and_work_of_a_step() -> None:
    stretch = Stretch(steps=8, seconds=2.0, waited_s=0.5, cpu_s=4.0)
    assert (stretch.steps_per_second, stretch.cpu_ms_a_step) == (4.0, 500.0)


def test_a_side_that_ends_by_itself_is_named_with_the_end_of_its_log(side: Side) -> None:
    with pytest.raises(SideError, match="asked to end"):
        side._ask("end")


def test_what_is_measured_is_a_training_that_the_trainer_takes(tmp_path: Path) -> None:
    write_shapes(tmp_path, train=8, val=4)
    spec = read_training(write_training(tmp_path / "run", tmp_path, seed=3)).spec
    assert spec.seed == 3
    train = open_dataset(spec.dataset.train, CLASSES, tmp_path)
    assert len(train) == 8
    assert all(1 <= len(image.annotations.boxes) <= 3 for image in train.images)
