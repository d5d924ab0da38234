"""Executes plans: the status is written first, then the actions are applied.

The reconciler calls it. It records why an object was not created; the next decision reports that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from detection_operator.cluster.act.apply import Applier
from detection_operator.cluster.act.obstacles import Obstacles
from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.resources import Key
from detection_operator.core.actions import Plan, makes_objects
from detection_operator.core.state import Training
from detection_operator.errors import OperatorError


@dataclass(frozen=True, slots=True)
class PlanExecutor:
    """Executes the plan of one training at a time."""

    writer: StatusWriter
    """Writes the statuses of plans."""
    applier: Applier
    now: Callable[[], datetime]
    obstacles: Obstacles = field(default_factory=Obstacles)

    async def confirm(self, training: Training, plan: Plan) -> None:
        """Check a plan whose status was not written: an outdated state must not create objects.

        Otherwise two attempts would train at once.

        Raises:
            ConflictError: the training is no longer in the state that was read.
            NotFoundError: the training is gone.
        """
        if makes_objects(plan.actions):
            await self.writer.confirm(training)

    async def apply(self, key: Key, training: Training, plan: Plan) -> None:
        """Apply the plan's actions, and record what prevents the creation of objects.

        Raises:
            OperatorError: an action failed; all of them may be applied again.
        """
        creates = makes_objects(plan.actions)
        try:
            await self.applier.apply(training, plan)
        except OperatorError as error:
            if creates:
                # The next decision reports it.
                self.obstacles.record(key, error, training.generation, self.now())
            raise
        if creates:
            self.obstacles.clear(key)
