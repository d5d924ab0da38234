"""CEL rules at the resource's root: what may change once a training has started.

They read `oldSelf.status`, so the API server itself refuses a change (no webhook). A rule on a
field could be bypassed by removing the field and setting it again; a rule on the status by removing
the status. Each write of the status evaluates every rule. So one rule covers all changes, and its
first comparison decides while the spec is unchanged.
"""

from detection_operator.api.absent import Schema, reading_defaults, same
from detection_trainer.contract.rules import cel

MAX_NAME = 40
"""A Job's name with the attempt number must fit in 63 characters."""

FIXED = (
    "model",
    "dataset",
    "pipelineConfig",
    "restore",
    "continueFrom",
    "augmentation",
    "freeze",
    "batchSize",
    "seed",
    "deterministic",
)
MAY_CHANGE = "onExtend"
"""Of the schedule, together with steps."""

STARTED = "has(oldSelf.status) && has(oldSelf.status.latestCheckpoint)"
ADVICE = (
    " cannot change once the training has a checkpoint: create a new DetectionTraining with "
    "restore.from.trainingRef or continueFrom.trainingRef"
)

NAME = cel(
    f"size(self.metadata.name) <= {MAX_NAME}",
    f"metadata.name must have at most {MAX_NAME} characters: the names of its Jobs contain it",
)
OTHER_SOURCE = cel(
    "!has(self.spec.restore) || !has(self.spec.restore.from.trainingRef) || "
    "self.spec.restore.from.trainingRef.name != self.metadata.name",
    "restore.from.trainingRef must name another training: this training resumes without it",
)
OTHER_RUN = cel(
    "!has(self.spec.continueFrom) || !has(self.spec.continueFrom.trainingRef) || "
    "self.spec.continueFrom.trainingRef.name != self.metadata.name",
    "continueFrom.trainingRef must name another training: to train this one further, raise steps",
)
ZERO_RATE = cel(
    "self.spec == oldSelf.spec || "
    "!(has(oldSelf.status) && has(oldSelf.status.schedule)) || has(self.spec.pipelineConfig) || "
    "self.spec.steps <= oldSelf.spec.steps || "
    "self.spec.optimizer.schedule.type != 'cosine' || "
    "self.spec.optimizer.schedule.onExtend != 'Hold' || "
    "self.spec.optimizer.schedule.finalFraction > 0.0 || "
    "self.spec.steps <= oldSelf.status.schedule.decaySteps",
    "the learning rate would be 0 for the added steps: set optimizer.schedule.onExtend: Restart to "
    "begin a new cycle over them",
)


def root_rules(spec: Schema) -> list[dict[str, str]]:
    """Return the rules of the root, where `spec` is the schema of the spec with its defaults."""
    root = {"properties": {"spec": spec}, "required": ["spec"]}
    rules = [NAME, OTHER_SOURCE, OTHER_RUN, ZERO_RATE]
    return [
        *({**rule, "rule": reading_defaults(rule["rule"], root)} for rule in rules),
        _unchanged(spec),
    ]


def _unchanged(spec: Schema) -> dict[str, str]:
    """Return the rule that refuses a change of what the checkpoints were trained with."""
    optimizer = spec["properties"]["optimizer"]
    schedule = optimizer["properties"]["schedule"]
    conditions = {name: [same(spec, name)] for name in FIXED}
    conditions["optimizer"] = [
        same(optimizer, "optimizer", name) for name in optimizer["properties"] if name != "schedule"
    ]
    conditions["optimizer.schedule"] = [
        same(schedule, "optimizer", "schedule", name)
        for name in schedule["properties"]
        if name != MAY_CHANGE
    ]
    conditions["checkpoints.storage"] = [
        "self.spec.checkpoints.storage == oldSelf.spec.checkpoints.storage"
    ]
    rules = {name: " && ".join(same) for name, same in conditions.items()}
    # One whole text for each field: the API server knows no bound for the cost of joining texts.
    messages = [f"!({rule}) ? 'spec.{name}{ADVICE}' : " for name, rule in rules.items()]
    unchanged = " && ".join(f"({rule})" for rule in rules.values())
    return {
        "rule": f"self.spec == oldSelf.spec || !({STARTED}) || ({unchanged})",
        "message": f"the spec{ADVICE}",
        "messageExpression": f"{''.join(messages)}''",
    }
