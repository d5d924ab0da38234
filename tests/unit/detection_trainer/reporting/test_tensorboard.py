"""Event files: TensorFlow reads them, a resume leaves no point twice, trouble costs no training."""

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from PIL import Image

from detection_trainer.contract.report import Progress, Report
from detection_trainer.errors import StorageUnavailableError, SupersededError
from detection_trainer.reporting.tensorboard import FLUSH_PERIOD_S, EventLog
from detection_trainer.storage import Folder, open_folder
from tests.support.trainer.events import files, points, steps
from tests.support.trainer.runs import NOW, flip_byte


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return open_folder((tmp_path / "run").as_uri())


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def log(folder: Folder, step: int = 0, **options: Any) -> EventLog:
    return EventLog(folder, step, clock=lambda: NOW, **options)


def report(step: int, **figures: float) -> Report:
    progress = Progress(**({"loss": 1.0 / (step + 1)} | figures))
    return Report(attempt=1, sequence=1, time=NOW, step=step, target_steps=100, progress=progress)


def test_tensorflow_reads_what_was_noted(folder: Folder) -> None:
    events = log(folder, pictures=lambda: [Image.new("RGB", (1024, 256), (9, 99, 199))])
    events.progress(report(10, learning_rate=0.5, data_wait_fraction=0.25))
    events.evaluated(20, {"mAP": 0.5, "mAP/tree": 0.25})
    events.flush(now=True)
    found = {(tag, step): value for tag, step, value in points(folder)}
    assert found["training/loss", 10].simple_value == pytest.approx(1 / 11)
    assert found["training/learning_rate", 10].simple_value == 0.5
    assert found["training/data_wait_fraction", 10].simple_value == 0.25
    assert found["evaluation/mAP/tree", 20].simple_value == 0.25
    image = found["evaluation/image_0", 20].image
    assert (image.width, image.height) == (512, 128)
    pixels = tf.io.decode_jpeg(image.encoded_image_string).numpy()
    assert abs(pixels[64, 256].astype(int) - [9, 99, 199]).max() < 8


def test_a_file_never_changes_and_the_next_one_sorts_behind_it(folder: Folder) -> None:
    events = log(folder)
    written: list[str] = []
    for step in (9, 10, 10, 100):
        events.progress(report(step))
        events.flush(now=True)
        assert files(folder)[:-1] == written
        written = files(folder)
    assert len(written) == 4
    assert steps(folder) == [9, 10, 10, 100]


@pytest.mark.parametrize("resumed", [0, 10, 15, 20, 40])
def test_a_resume_leaves_no_point_behind_its_step(folder: Folder, resumed: int) -> None:
    events = log(folder)
    for flushed in ((5, 10), (12, 20), (25, 30)):
        for step in flushed:
            events.progress(report(step))
        events.flush(now=True)
    again = log(folder, resumed)
    assert steps(folder) == [s for s in (5, 10, 12, 20, 25, 30) if s <= resumed]
    again.progress(report(resumed))
    again.progress(report(resumed + 1))
    again.flush(now=True)
    assert steps(folder)[-2:] == [resumed, resumed + 1]


def test_of_a_damaged_file_the_part_that_reads_is_kept(folder: Folder, tmp_path: Path) -> None:
    events = log(folder)
    for step in (5, 10):
        events.progress(report(step))
    events.flush(now=True)
    flip_byte(tmp_path / "run/events" / files(folder)[0])
    log(folder, 7)
    assert steps(folder) == [5]


def test_files_are_written_no_more_often_than_necessary(folder: Folder) -> None:
    clock = Clock()
    events = log(folder, ticks=clock)
    for now in (1.0, FLUSH_PERIOD_S, FLUSH_PERIOD_S + 1, 10_000.0, 10_050.0):
        clock.now = now
        events.progress(report(int(now)))
        events.flush()
    assert len(files(folder)) == 2
    assert steps(folder) == [1, 10, 11, 10_000]
    events.flush(now=True)
    events.flush(now=True)
    assert len(files(folder)) == 3


def test_events_that_the_storage_refuses_are_written_later(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise StorageUnavailableError("503")

    events = log(folder)
    events.progress(report(1))
    with monkeypatch.context() as patched:
        patched.setattr(Folder, "write", refuse)
        events.flush(now=True)
    events.progress(report(2))
    events.flush(now=True)
    assert steps(folder) == [1, 2]


def test_a_superseded_trainer_writes_none(folder: Folder) -> None:
    def superseded() -> None:
        raise SupersededError("a later one writes now")

    events = log(folder, before_write=superseded)
    events.progress(report(1))
    with pytest.raises(SupersededError):
        events.flush(now=True)
    assert files(folder) == []
