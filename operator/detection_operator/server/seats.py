"""Divides a bounded number of connections between network addresses; does no I/O.

If all seats are taken, a newcomer replaces the oldest connection of the address with the most
connections, if that address still has at least as many as the newcomer then. So a flood from a few
addresses cannot exclude others, and a single address may use all that one address is allowed.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Admission(Generic[C]):
    """Whether a newcomer is admitted, and which connection must be closed for it."""

    admitted: bool
    evicted: C | None = None


class Seats(Generic[C]):
    """The connections of each address."""

    def __init__(self, total: int, per_peer: int) -> None:
        """Admit `total` connections, and at most `per_peer` of one address."""
        self._total, self._per_peer = total, min(per_peer or total, total)
        self._held: dict[str, dict[C, None]] = {}
        """By address, the oldest first."""
        self._count = 0

    def __len__(self) -> int:
        """Return the number of connections."""
        return self._count

    @property
    def is_crowded(self) -> bool:
        """Whether idle connections should be closed: three quarters of the seats are taken."""
        return self._count * 4 >= self._total * 3

    def connections(self) -> list[C]:
        """Return all connections."""
        return [connection for held in self._held.values() for connection in held]

    def admit(self, peer: str, connection: C) -> Admission[C]:
        """Admit a connection of `peer`, if there is a seat for it."""
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
        """Free the seat of a connection; a connection without a seat is ignored."""
        held = self._held.get(peer, {})
        if connection not in held:
            return
        del held[connection]
        self._count -= 1
        if not held:
            del self._held[peer]
