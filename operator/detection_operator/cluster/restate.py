"""The status after a report is merged: decided at once, so that one write reports both.

The progress endpoint calls it. Changes of the cluster are left to the workers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from detection_operator.api.v1alpha1 import Status
from detection_operator.cluster.decider import Decider
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.core.actions import Plan
from detection_operator.core.state import Observed, Training


@dataclass(frozen=True, slots=True)
class Restated:
    """A status, and the decision that it follows from."""

    status: Status
    decision: tuple[Observed, Plan] | None = None
    """None: the decision is left to the workers."""


Restate = Callable[[Training], Restated]


def leave(training: Training) -> Restated:
    """Leave the decision to the workers."""
    return Restated(training.status)


@dataclass(frozen=True, slots=True)
class Restater:
    """Decides as the workers do, with the state of the cache, if this replica plans."""

    gatherer: Gatherer
    decider: Decider
    leads: Callable[[], bool]

    def restate(self, training: Training) -> Restated:
        """Return the status of `training`, which contains a report that the API does not have."""
        observed = self.gatherer.known(training) if self.leads() else None
        if observed is None:
            return leave(training)
        plan = self.decider.decide(observed)
        if plan.actions:
            return leave(training)
        return Restated(plan.status, (observed, plan))
