"""Has the cyclic garbage collector free what closed connections leave behind.

aiohttp's requests, payloads and errors refer to each other and to the data that was received, and
so do asyncio's TLS protocols whose handshake failed. The collector comes seldom (`__main__`), so a
flood could fill the memory before it does.
"""

import gc
import time
from collections.abc import Callable

LIMIT_BYTES = 32 * 2**20
EACH_BYTES = 2 * 2**10
"""What a connection leaves behind beside the data."""
LARGEST_SHARE = 0.2
"""Of the time, in which the collector may run: a flood must not buy more of it."""


class Leftovers:
    """Counts what closed connections may have left, and collects when it is much."""

    def __init__(
        self,
        collect: Callable[[], object] = gc.collect,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Collect by `collect`; `clock` measures how long that takes, in seconds."""
        self._collect, self._clock = collect, clock
        self._bytes, self._not_before = 0, 0.0

    def add(self, left_bytes: int) -> None:
        """Count what a closed connection may have left; collect if enough has come together."""
        self._bytes += left_bytes + EACH_BYTES
        began = self._clock()
        if self._bytes < LIMIT_BYTES or began < self._not_before:
            return
        self._collect()
        self._bytes, ended = 0, self._clock()
        self._not_before = ended + (ended - began) * (1 / LARGEST_SHARE - 1)
