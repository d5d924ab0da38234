"""Stops a trainer on SIGTERM (Kubernetes) or SIGINT (Ctrl-C).

Before the first step there is nothing to save, so the signal ends the start-up immediately. Later
it only sets a flag, which the loop reads between two steps. A second SIGINT ends the process.
"""

import signal
import threading
from types import FrameType
from typing import Protocol


class StopRequested(BaseException):
    """A signal stops the process; a BaseException, so that `except Exception` does not catch it."""


class Stop(Protocol):
    """What the loop reads before each step."""

    @property
    def requested(self) -> bool:
        """Whether to stop before the next step."""

    def raise_if_requested(self) -> None:
        """Raise StopRequested if a stop is requested."""

    def defer_signals(self) -> None:
        """Make later signals set the flag only, without raising."""


class StopSignal:
    """Turns signals into a request to stop."""

    def __init__(self) -> None:
        """Start in the start-up phase, without a request."""
        self._requested = threading.Event()
        self._interrupts = True

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self._requested.is_set()

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on; call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def defer_signals(self) -> None:
        """Make later signals set the flag only: the loop has started, or the attempt is ending."""
        self._interrupts = False

    def raise_if_requested(self) -> None:
        """Raise StopRequested if a signal has arrived."""
        if self.requested:
            raise StopRequested

    def request(self) -> None:
        """Request a stop, as a signal does once the loop runs."""
        self._requested.set()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = self.requested
        self._requested.set()
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt
        if self._interrupts and not again:
            raise StopRequested
