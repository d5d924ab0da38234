"""How a trainer is asked to stop: SIGTERM (Kubernetes) or SIGINT (Ctrl-C).

Until the first step is done there is nothing to save, so the signal ends the start-up at once; from
then on it only asks, and the loop answers between two steps. A second SIGINT ends a run by hand.
"""

import signal
import threading
from types import FrameType
from typing import Protocol


class StopRequested(BaseException):
    """The process was asked to stop; derives as KeyboardInterrupt does, so that nothing eats it."""


class Stop(Protocol):
    """What the loop asks before each step."""

    @property
    def requested(self) -> bool:
        """Whether to stop now."""

    def raise_if_requested(self) -> None:
        """Raise StopRequested where that is so."""

    def only_ask(self) -> None:
        """Let no signal interrupt from now on."""


class StopSignal:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        """Begin in the start-up phase, unasked."""
        self._requested = threading.Event()
        self._interrupts = True

    @property
    def requested(self) -> bool:
        """True once a signal came."""
        return self._requested.is_set()

    def install(self) -> None:
        """Answer SIGTERM and SIGINT from now on; for the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def only_ask(self) -> None:
        """From now on a signal interrupts nothing: the loop runs, or the end has begun."""
        self._interrupts = False

    def raise_if_requested(self) -> None:
        """Raise StopRequested once a signal came."""
        if self.requested:
            raise StopRequested

    def request(self) -> None:
        """Ask, as a signal does once the loop runs."""
        self._requested.set()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = self.requested
        self._requested.set()
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._interrupts and not again:
            raise StopRequested
