"""The queue of keys: each key at most once, one worker per key at a time, first in first out.

Level-triggered: a key means only "reconcile this training". If all trainings must be reconciled,
for example at a start, they wait in a second line, so that new events are not behind them: the two
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
        """Cancel the call."""


CallLater = Callable[[float, Callable[[], None]], Timer]


def call_later(delay_s: float, call: Callable[[], None]) -> Timer:
    """Make the running loop call `call` in `delay_s` seconds."""
    return asyncio.get_running_loop().call_later(delay_s, call)


class KeyQueue:
    """Keys to reconcile now, keys being reconciled, and keys to reconcile later."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        later: CallLater = call_later,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Take the time from `clock`, delays from `later`, and from `jitter` a number in [0, 1)."""
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
        """Queue `key`; if a worker has it, queue it once more after that."""
        waiting = self._again if key in self._in_hand else self._ready
        since = self._routine.pop(key, self._clock())
        waiting.setdefault(key, since)
        if waiting is self._ready:
            self._some.set()

    def add_all(self, keys: Iterable[Key]) -> None:
        """Queue each of `keys` in the second line, which takes turns with the keys of events."""
        now = self._clock()
        for key in keys:
            if key in self._in_hand:
                self._again.setdefault(key, now)
            elif key not in self._ready:
                self._routine.setdefault(key, now)
        if self._routine:
            self._some.set()

    def restart(self, keys: Iterable[Key]) -> None:
        """Forget failures and scheduled keys; queue each of `keys`."""
        for key in list(self._timers):
            self._unschedule(key)
        self._failures.clear()
        self._ready.clear()
        self._routine.clear()
        self.add_all(keys)

    def schedule(self, key: Key, delay_s: float) -> None:
        """Queue `key` in `delay_s`; this replaces what was scheduled for it before."""
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
        """End a success: forget failures, and queue the key again only if requested."""
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
        """Release `key`; if it was added meanwhile, it waits at the end of the line."""
        self._in_hand.discard(key)
        if key in self._again:
            self._ready[key] = self._again.pop(key)
            self._some.set()

    def depth(self) -> int:
        """The number of waiting keys."""
        return sum(map(len, (self._ready, self._routine, self._again)))

    def oldest_age_s(self) -> float:
        """The longest time that a key has waited; 0 if none waits."""
        lines = (self._ready, self._routine, self._again)
        since = min((first for line in lines for first in line.values()), default=None)
        return 0.0 if since is None else max(self._clock() - since, 0.0)

    def _next_line(self) -> dict[Key, float]:
        """Return a line that is not empty; if both are not empty, they take turns."""
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
