"""The queue of keys: each at most once, one worker a key at a time, first come first served.

Level-triggered: a key says only "look at this training". Where all are to be looked at, as at a
start, they wait in a line of their own, and what happens meanwhile is not behind them: the two
lines take turns. Used from one event loop.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from detection_operator.cluster.api.resources import Key

BACKOFF_BASE_S = 0.5
BACKOFF_CAP_S = 60.0
MAX_DOUBLINGS = 16
JITTER = 0.2


class Timer(Protocol):
    """A call that is due later; asyncio.TimerHandle is one."""

    def cancel(self) -> None:
        """Do not make the call."""


CallLater = Callable[[float, Callable[[], None]], Timer]


def call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    """Let the running loop make `call` in `delay_s` seconds."""
    return asyncio.get_running_loop().call_later(delay_s, call)


class KeyQueue:
    """Keys to look at now, keys being looked at, and keys to look at later."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: CallLater = call_later,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Take the time from `clock` and delays from `later`; `jitter` answers in [0, 1)."""
        self._clock, self._later, self._jitter = clock, later, jitter
        self._ready: dict[Key, float] = {}
        self._routine: dict[Key, float] = {}
        self._routine_was_last = True
        self._in_hand: set[Key] = set()
        self._again: dict[Key, float] = {}
        self._timers: dict[Key, Timer] = {}
        self._failures: dict[Key, int] = {}
        self._some = asyncio.Event()

    def add(self, key: Key) -> None:
        """Have `key` looked at; while a worker holds it, once more after that."""
        waiting = self._again if key in self._in_hand else self._ready
        since = self._routine.pop(key, self._clock())
        waiting.setdefault(key, since)
        if waiting is self._ready:
            self._some.set()

    def add_all(self, keys: Iterable[Key]) -> None:
        """Have each of `keys` looked at, in turn with those to which something happens."""
        now = self._clock()
        for key in keys:
            if key in self._in_hand:
                self._again.setdefault(key, now)
            elif key not in self._ready:
                self._routine.setdefault(key, now)
        if self._routine:
            self._some.set()

    def restart(self, keys: Iterable[Key]) -> None:
        """Forget what failed and what was scheduled; have each of `keys` looked at."""
        for key in list(self._timers):
            self._unschedule(key)
        self._failures.clear()
        self._ready.clear()
        self._routine.clear()
        self.add_all(keys)

    def schedule(self, key: Key, delay_s: float) -> None:
        """Have `key` looked at in `delay_s`; replaces what was scheduled for it before."""
        self._unschedule(key)
        if delay_s <= 0:
            self.add(key)
            return
        self._timers[key] = self._later(delay_s, lambda: self._fire(key))

    def retry(self, key: Key) -> float:
        """Schedule `key` after a failure; return the delay, which doubles with each in a row."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay_s: float = min(BACKOFF_BASE_S * 2 ** min(failures, MAX_DOUBLINGS), BACKOFF_CAP_S)
        delay_s *= 1 + JITTER * self._jitter()
        self.schedule(key, delay_s)
        return delay_s

    def settle(self, key: Key, recheck_after_s: float | None) -> None:
        """End a success: forget failures, and look again only when asked to."""
        self._failures.pop(key, None)
        if recheck_after_s is None:
            self._unschedule(key)
        else:
            self.schedule(key, recheck_after_s)

    async def get(self) -> Key:
        """Return the key that waited longest in its line; the caller must call `done` with it."""
        while not (self._ready or self._routine):
            self._some.clear()
            await self._some.wait()
        line = self._next_line()
        key = next(iter(line))
        del line[key]
        self._in_hand.add(key)
        return key

    def done(self, key: Key) -> None:
        """Let others have `key`; if it was added meanwhile, it waits at the end of the line."""
        self._in_hand.discard(key)
        if key in self._again:
            self._ready[key] = self._again.pop(key)
            self._some.set()

    def depth(self) -> int:
        """How many keys wait."""
        return sum(map(len, (self._ready, self._routine, self._again)))

    def oldest_age_s(self) -> float:
        """How long the key that waits longest has waited; 0 where none does."""
        lines = (self._ready, self._routine, self._again)
        since = min((first for line in lines for first in line.values()), default=None)
        return 0.0 if since is None else max(self._clock() - since, 0.0)

    def _next_line(self) -> dict[Key, float]:
        """Return a line that is not empty: where both are not, in turn."""
        if not (self._ready and self._routine):
            return self._ready or self._routine
        self._routine_was_last = not self._routine_was_last
        return self._routine if self._routine_was_last else self._ready

    def _fire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _unschedule(self, key: Key) -> None:
        if timer := self._timers.pop(key, None):
            timer.cancel()
