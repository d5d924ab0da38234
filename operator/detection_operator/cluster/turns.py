"""Decides who may write a status now: few writes of reports are in the API server at a time.

The queue of reports waits for a turn before each write. Without a limit, requests would wait in the
API server until they time out.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus

from detection_operator.cluster.api.resources import Key
from detection_operator.errors import UnavailableError

WRITES_AT_ONCE = 20
PROGRESS_AT_ONCE = 4
"""The number of these that write only progress: other reports do not wait behind them."""
MAX_WAITING = 200


class WriteTurns:
    """Limits how many reports are written at once, and how many wait for that."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Measure with `clock` how long a write of progress takes."""
        self._clock = clock
        self._turns, self._waiting = asyncio.Semaphore(WRITES_AT_ONCE), 0
        self._progress_turns = asyncio.Semaphore(PROGRESS_AT_ONCE)

    @asynccontextmanager
    async def any(self, key: Key) -> AsyncIterator[None]:
        """Wait until fewer than WRITES_AT_ONCE reports are being written.

        Raises:
            UnavailableError: MAX_WAITING others wait; the trainer must send its report again.
        """
        if self._waiting >= MAX_WAITING:
            msg = f"{MAX_WAITING} others wait to be written: send the newest again"
            busy = HTTPStatus.SERVICE_UNAVAILABLE
            raise UnavailableError(f"writing the report of {key}", busy, msg)
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    @asynccontextmanager
    async def progress(self) -> AsyncIterator[None]:
        """Wait until fewer than PROGRESS_AT_ONCE writes of progress are being made.

        A turn lasts twice as long as the write: progress leaves half of the API server's time free.
        """
        async with self._progress_turns:
            started = self._clock()
            yield
            await asyncio.sleep(self._clock() - started)
