import os
import signal
from collections.abc import Iterator

import pytest

from detection_trainer.stop import StopRequested, StopSignal


@pytest.fixture
def stop() -> Iterator[StopSignal]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    stop = StopSignal()
    stop.install()
    yield stop
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_during_the_start_up_a_signal_interrupts(stop: StopSignal, number: signal.Signals) -> None:
    with pytest.raises(StopRequested):
        os.kill(os.getpid(), number)
    assert stop.requested


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_it_trains_a_signal_only_asks(stop: StopSignal, number: signal.Signals) -> None:
    stop.defer_signals()
    os.kill(os.getpid(), number)
    assert stop.requested
    with pytest.raises(StopRequested):
        stop.raise_if_requested()


def test_a_second_sigterm_changes_nothing(stop: StopSignal) -> None:
    with pytest.raises(StopRequested):
        os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.requested


def test_a_second_ctrl_c_ends_at_once(stop: StopSignal) -> None:
    stop.defer_signals()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_nothing_eats_the_request() -> None:
    assert not issubclass(StopRequested, Exception)
