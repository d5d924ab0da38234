"""Which changes of a status may wait a moment, since another is likely to follow at once.

A start goes through several states within a second where a node and the image are at hand. Each by
itself tells nobody anything: the first report or what holds the start up does.
"""

from detection_operator.api.conditions import Phase
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import Plan

ON_THE_WAY = frozenset({Phase.QUEUED, Phase.STARTING})


def may_wait(before: Status, plan: Plan) -> bool:
    """Tell whether `plan` does nothing, and says only how far a start is on its way."""
    after = plan.status
    if plan.actions or plan.events or after == before:
        return False
    on_the_way = before.phase in ON_THE_WAY and after.phase in ON_THE_WAY
    return on_the_way and _settled(before) == _settled(after)


def _settled(status: Status) -> Status:
    """Return the status without what a start changes from moment to moment."""
    attempt = status.current_attempt
    if attempt is not None:
        attempt = attempt.model_copy(update={"started_at": None})
    return status.model_copy(update={"phase": "", "conditions": [], "current_attempt": attempt})
