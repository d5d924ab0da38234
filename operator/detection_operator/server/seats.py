"""Shares a bounded number of connections out between network addresses; does no I/O.

Where all are taken, a newcomer gets the place of the oldest connection of the address that holds
most, if that one keeps at least as many as the newcomer then has. So a flood from a few addresses
cannot keep others out, and an address alone may hold all that one address is allowed.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Admission(Generic[C]):
    """Whether a newcomer is admitted, and which connection is to be closed for it."""

    admitted: bool
    evicted: C | None = None


class Seats(Generic[C]):
    """Who holds which connections."""

    def __init__(self, total: int, per_peer: int) -> None:
        """Admit `total` connections, of one address `per_peer` at most."""
        self._total, self._per_peer = total, min(per_peer or total, total)
        self._held: dict[str, dict[C, None]] = {}
        """By address, the oldest first."""
        self._count = 0

    def __len__(self) -> int:
        """Return how many connections are held."""
        return self._count

    @property
    def is_crowded(self) -> bool:
        """Whether idle connections should make room: three quarters are taken."""
        return self._count * 4 >= self._total * 3

    def connections(self) -> list[C]:
        """Return all that are held."""
        return [connection for held in self._held.values() for connection in held]

    def admit(self, peer: str, connection: C) -> Admission[C]:
        """Hold a connection of `peer`, if there is a place for it."""
        mine = len(self._held.get(peer, ()))
        if mine >= self._per_peer:
            return Admission(admitted=False)
        evicted = None
        if self._count >= self._total:
            greediest = max(self._held, key=lambda name: len(self._held[name]))
            if len(self._held[greediest]) < mine + 2:
                return Admission(admitted=False)
            evicted = next(iter(self._held[greediest]))
            self.release(greediest, evicted)
        self._held.setdefault(peer, {})[connection] = None
        self._count += 1
        return Admission(admitted=True, evicted=evicted)

    def release(self, peer: str, connection: C) -> None:
        """Let go of a connection; one that is not held is nothing to let go of."""
        held = self._held.get(peer, {})
        if connection not in held:
            return
        del held[connection]
        self._count -= 1
        if not held:
            del self._held[peer]
