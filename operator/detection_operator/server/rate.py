"""How often one pod may report: a burst, then a fixed rate; for any number of pods."""

import time
from collections.abc import Callable

EVERY_S = 1.0
"""More than a trainer needs that reports every few seconds and at each checkpoint."""
BURST = 20
MAX_REMEMBERED = 50_000


class RateLimit:
    """The generic cell rate algorithm (ITU-T I.371): one number per sender."""

    def __init__(
        self,
        every_s: float = EVERY_S,
        burst: int = BURST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Allow one every `every_s` seconds, and `burst` of them at once."""
        self._every_s, self._slack_s = every_s, every_s * (burst - 1)
        self._clock = clock
        self._due: dict[str, float] = {}
        """When each sender's next would be due at exactly one every `every_s`."""

    def take(self, sender: str) -> float:
        """Count one of `sender`; return 0, or the seconds until it may try again."""
        now = self._clock()
        due = max(self._due.get(sender, now), now)
        if due - now > self._slack_s:
            return due - now - self._slack_s
        if sender not in self._due and len(self._due) >= MAX_REMEMBERED:
            self._due = {name: at for name, at in self._due.items() if at > now}
        self._due[sender] = due + self._every_s
        return 0.0
