"""Decides what happens next with a training, by the clock and the settings of this process.

The reconciler and the restater share one decider, so both decide alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from detection_operator.api.times import utc_now
from detection_operator.core.actions import Plan
from detection_operator.core.state import Observed, PolicySettings

MakePlan = Callable[[Observed, PolicySettings, datetime], Plan]


@dataclass(frozen=True, slots=True)
class Decider:
    """Calls the plan function with the clock and the settings."""

    plan: MakePlan
    settings: PolicySettings
    now: Callable[[], datetime] = utc_now

    def decide(self, observed: Observed) -> Plan:
        """Return the plan for `observed`, at the present time."""
        return self.plan(observed, self.settings, self.now())
