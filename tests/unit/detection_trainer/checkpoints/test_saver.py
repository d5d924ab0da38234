import threading

import pytest

from detection_trainer.checkpoints.format import Snapshot
from detection_trainer.checkpoints.saver import MAX_FAILURES, Saver
from detection_trainer.errors import StorageFullError, StorageUnavailableError
from tests.support.trainer.runs import snapshot


class Disk:
    """Commits when it is released; fails on request."""

    def __init__(self) -> None:
        self.committed: list[int] = []
        self.delayed: list[int] = []
        self.failure: Exception | None = None
        self.free, self.busy = threading.Event(), threading.Event()
        self.free.set()

    def commit(self, state: Snapshot) -> None:
        self.busy.set()
        assert self.free.wait(10)
        if self.failure is not None:
            raise self.failure
        self.committed.append(state.step)

    def delay(self, state: Snapshot, _error: Exception) -> None:
        self.delayed.append(state.step)


@pytest.fixture
def disk() -> Disk:
    return Disk()


def test_saves_run_beside_the_loop_and_the_newest_waiting_one_wins(disk: Disk) -> None:
    disk.free.clear()
    saver = Saver(disk.commit, disk.delay)
    saver.submit(snapshot(1))
    assert disk.busy.wait(10)
    for step in (2, 3, 4):
        saver.submit(snapshot(step))
    disk.free.set()
    saver.drain()
    saver.close()
    assert disk.committed == [1, 4]


def test_a_save_that_is_waited_for_is_committed_when_it_returns(disk: Disk) -> None:
    saver = Saver(disk.commit, disk.delay)
    saver.submit(snapshot(1))
    saver.save(snapshot(2))
    assert disk.committed == [1, 2]
    saver.close()


def test_a_failure_reaches_the_loop(disk: Disk) -> None:
    saver = Saver(disk.commit, disk.delay)
    disk.failure = StorageFullError("the volume is full")
    saver.submit(snapshot(1))
    with pytest.raises(StorageFullError):
        saver.drain()
    with pytest.raises(StorageFullError):
        saver.submit(snapshot(2))
    saver.close()


def test_a_short_outage_of_the_storage_does_not_stop_training(disk: Disk) -> None:
    saver = Saver(disk.commit, disk.delay)
    disk.failure = StorageUnavailableError("no answer")
    for step in range(1, MAX_FAILURES):
        saver.submit(snapshot(step))
        saver.drain()
    disk.failure = None
    saver.submit(snapshot(9))
    saver.drain()
    saver.close()
    assert disk.delayed == list(range(1, MAX_FAILURES))
    assert disk.committed == [9]


def test_a_long_outage_ends_the_attempt(disk: Disk) -> None:
    saver = Saver(disk.commit, disk.delay)
    disk.failure = StorageUnavailableError("no answer")
    for step in range(1, MAX_FAILURES):
        saver.submit(snapshot(step))
        saver.drain()
    saver.submit(snapshot(9))
    with pytest.raises(StorageUnavailableError):
        saver.drain()
    saver.close()


def test_a_save_that_is_waited_for_does_not_hide_an_outage(disk: Disk) -> None:
    saver = Saver(disk.commit, disk.delay)
    disk.failure = StorageUnavailableError("no answer")
    with pytest.raises(StorageUnavailableError):
        saver.save(snapshot(1))
    saver.close()
