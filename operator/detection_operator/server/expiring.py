"""Keeps a bounded number of values, each until its own time; does no I/O."""

from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Expiring(Generic[K, V]):
    """Values by key. If it is full, the value that was put in first is removed."""

    def __init__(self, limit: int, now: Callable[[], float]) -> None:
        """Keep `limit` values at most; they expire by the time that `now` returns, in seconds."""
        self._limit, self._now = limit, now
        self._kept: dict[K, tuple[V, float]] = {}

    def __len__(self) -> int:
        """Return how many values are kept, including expired ones."""
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return the value of `key`; None if there is none or it has expired."""
        value, until = self._kept.get(key, (None, 0.0))
        return value if self._now() < until else None

    def put(self, key: K, value: V, until: float) -> None:
        """Keep `value` until the time `until`."""
        self._kept.pop(key, None)
        while len(self._kept) >= self._limit:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = value, until

    def clear(self) -> None:
        """Remove all values."""
        self._kept.clear()
