"""Decides what happens next with a training, by the clock and the settings of this process.

The reconciler and the restater share one decider, so both decide alike.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from detection_operator.core.actions import Plan
from detection_operator.core.state import Observed, PolicySettings

MakePlan = Callable[[Observed, PolicySettings, datetime], Plan]


def utc_now() -> datetime:
    """Return the time now."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Decider:
    """Gives the plan function what it decides by besides what was observed."""

    plan: MakePlan
    settings: PolicySettings
    now: Callable[[], datetime] = utc_now

    def decide(self, observed: Observed) -> Plan:
        """Return the plan for what was observed, at the present time."""
        return self.plan(observed, self.settings, self.now())
