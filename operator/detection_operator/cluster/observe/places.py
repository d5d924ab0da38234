"""The watched namespaces. They are independent: one that cannot be listed does not affect others.

A namespace, or the Role in it, may be deleted while the operator watches others. The cached objects
of this namespace are neither pruned nor planned on until its lists succeed again.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

from detection_operator.errors import ClusterError, ForbiddenError, NotFoundError

logger = logging.getLogger(__name__)

Place = str | None
"""A namespace; None: all of them."""


class Places:
    """The namespaces that are listed, and why the operator cannot list some of them."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        """Begin with none of `namespaces` listed (no names: all namespaces are one place)."""
        self.all: tuple[Place, ...] = tuple(namespaces) or (None,)
        self._current: set[Place] = set()
        self._problems: dict[Place, str] = {}

    @property
    def unavailable(self) -> tuple[Place, ...]:
        """The places whose last list failed."""
        return tuple(self._problems)

    def may_plan(self, namespace: str) -> bool:
        """Return whether the cached objects of a namespace may be planned on."""
        return (None if self.all == (None,) else namespace) in self._current

    async def each(
        self, work: Callable[[Place], Awaitable[None]], places: Iterable[Place] | None = None
    ) -> None:
        """Do `work` for each place (none given: all); a place that fails counts as not listed.

        Raises:
            ClusterError: it failed for all of them; the first error.
        """
        errors: list[ClusterError] = []
        wanted = self.all if places is None else tuple(places)
        for place in wanted:
            try:
                await work(place)
            except ClusterError as error:
                errors.append(error)
                self._lose(place, error)
        if errors and len(errors) == len(wanted):
            raise errors[0]

    def listed(self, place: Place) -> None:
        """Record that all of a place has been listed."""
        if self._problems.pop(place, None) is not None:
            logger.info("%s can be listed again", _name(place))
        self._current.add(place)

    def _lose(self, place: Place, error: ClusterError) -> None:
        if isinstance(error, ForbiddenError | NotFoundError):
            # A server that is busy for a moment removes no permissions: the cached objects stay
            # valid.
            self._current.discard(place)
        problem = str(error)
        if self._problems.get(place) != problem and len(self.all) > 1:
            logger.warning("%s cannot be listed, trying again: %s", _name(place), problem)
        self._problems[place] = problem


def _name(place: Place) -> str:
    return "the cluster" if place is None else f"namespace {place}"
