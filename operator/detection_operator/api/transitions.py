"""CEL rules at the resource's root: what may change once a training has started.

They read `oldSelf.status`, so the API server itself refuses a change (no webhook). A rule on a
field could be bypassed by removing the field and setting it again; a rule on the status by removing
the status.
"""

from detection_trainer.contract.rules import cel

MAX_NAME = 40
"""A Job's name with the attempt number must fit in 63 characters."""

IMMUTABLE = ("augmentation", "freeze", "batchSize", "seed", "deterministic")
IMMUTABLE_OPTIONAL = ("model", "dataset", "pipelineConfig", "restore", "continueFrom")
OPTIMIZER = ("name", "learningRate", "momentum", "weightDecay")
OPTIMIZER_OPTIONAL = ("gradientClipNorm", "decay", "epsilon")
SCHEDULE = ("type", "warmupSteps", "finalFraction", "boundaries", "factor")
SCHEDULE_OPTIONAL = (
    "decaySteps", "warmupLearningRate", "warmup", "holdSteps", "rates", "staircase",
)  # fmt: skip

STARTED = "has(oldSelf.status) && has(oldSelf.status.latestCheckpoint)"
ADVICE = (
    "cannot change once the training has a checkpoint: create a new DetectionTraining with "
    "restore.from.trainingRef or continueFrom.trainingRef"
)


def _same(path: str) -> str:
    return f"self.{path} == oldSelf.{path}"


def _same_optional(path: str) -> str:
    return f"has(self.{path}) == has(oldSelf.{path}) && (!has(self.{path}) || {_same(path)})"


def _fixed(path: str, condition: str) -> dict[str, str]:
    # A write of the status by the operator passes too: the spec does not differ there.
    return cel(f"!({STARTED}) || ({condition})", f"spec.{path} {ADVICE}")


def _optimizer_rule() -> dict[str, str]:
    same = [_same(f"spec.optimizer.{name}") for name in OPTIMIZER]
    same += [_same_optional(f"spec.optimizer.{name}") for name in OPTIMIZER_OPTIONAL]
    return _fixed("optimizer", " && ".join(same))


def _schedule_rule() -> dict[str, str]:
    schedule = "spec.optimizer.schedule"
    same = [_same(f"{schedule}.{name}") for name in SCHEDULE]
    same += [_same_optional(f"{schedule}.{name}") for name in SCHEDULE_OPTIONAL]
    rule = _fixed("optimizer.schedule", " && ".join(same))
    return {**rule, "message": rule["message"] + " (onExtend may change, with steps)"}


ZERO_RATE = cel(
    "!(has(oldSelf.status) && has(oldSelf.status.schedule)) || has(self.spec.pipelineConfig) || "
    "self.spec.steps <= oldSelf.spec.steps || "
    "self.spec.optimizer.schedule.type != 'cosine' || "
    "self.spec.optimizer.schedule.onExtend != 'Hold' || "
    "self.spec.optimizer.schedule.finalFraction > 0.0 || "
    "self.spec.steps <= oldSelf.status.schedule.decaySteps",
    "the learning rate would be 0 for the added steps: set optimizer.schedule.onExtend: Restart to "
    "begin a new cycle over them",
)

ROOT_RULES = [
    cel(
        f"size(self.metadata.name) <= {MAX_NAME}",
        f"metadata.name must have at most {MAX_NAME} characters: the names of its Jobs contain it",
    ),
    cel(
        "!has(self.spec.restore) || !has(self.spec.restore.from.trainingRef) || "
        "self.spec.restore.from.trainingRef.name != self.metadata.name",
        "restore.from.trainingRef must name another training: this training resumes without it",
    ),
    cel(
        "!has(self.spec.continueFrom) || !has(self.spec.continueFrom.trainingRef) || "
        "self.spec.continueFrom.trainingRef.name != self.metadata.name",
        "continueFrom.trainingRef must name another training: to train this one further, raise "
        "steps",
    ),
    *[_fixed(name, _same(f"spec.{name}")) for name in IMMUTABLE],
    *[_fixed(name, _same_optional(f"spec.{name}")) for name in IMMUTABLE_OPTIONAL],
    _optimizer_rule(),
    _schedule_rule(),
    _fixed("checkpoints.storage", _same("spec.checkpoints.storage")),
    ZERO_RATE,
]
