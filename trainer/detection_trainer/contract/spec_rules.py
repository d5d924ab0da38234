"""What holds between the fields of a spec: at admission, and before a training is started."""

from detection_trainer.contract.odapi import BACKBONES
from detection_trainer.contract.optimizer import Schedule
from detection_trainer.contract.rules import cel, cel_for_new

DEFAULT_SAMPLES = 4
"""Of `evaluation.sampleImages`."""

RULES = (
    cel(
        "has(self.model) != has(self.pipelineConfig)",
        "exactly one of model, pipelineConfig must be set",
    ),
    cel(
        "has(self.pipelineConfig) || (has(self.dataset) && has(self.steps))",
        "dataset and steps must be set, unless a pipelineConfig gives them",
    ),
    cel(
        "!(has(self.restore) && has(self.continueFrom))",
        "restore and continueFrom exclude each other: restore starts at step 0, continueFrom "
        "resumes at the source's step",
    ),
    cel(
        "has(self.pipelineConfig) || self.batchSize % self.workers == 0",
        "batchSize is the total of all workers: it must be divisible by workers",
    ),
    cel(
        "self.workers == 1 || !has(self.checkpoints.storage.volumeClaim) || "
        "(has(self.checkpoints.storage.volumeClaim.accessModes) && "
        "self.checkpoints.storage.volumeClaim.accessModes.exists(m, m == 'ReadWriteMany'))",
        "several workers need storage that all of them can mount: a uri, or a volumeClaim with "
        "accessModes ReadWriteMany",
    ),
    cel(
        "has(self.pipelineConfig) || !has(self.optimizer.schedule.decaySteps) || "
        "self.optimizer.schedule.type != 'cosine' || "
        "self.optimizer.schedule.onExtend != 'Hold' || "
        "self.optimizer.schedule.finalFraction > 0.0 || "
        "self.steps <= self.optimizer.schedule.decaySteps",
        "the learning rate would be 0 after decaySteps: set "
        "optimizer.schedule.finalFraction above 0, onExtend: Restart, or decaySteps to steps",
    ),
    cel(
        "has(self.pipelineConfig) || !has(self.exports) || !('ODAPI' in self.exports) || "
        "self.model.backbone in "
        f"[{', '.join(repr(str(name)) for name in BACKBONES)}]",
        f"exports: ODAPI needs a backbone that the OD API has: {', '.join(BACKBONES)}",
    ),
    cel_for_new(
        "has(self.pipelineConfig) || !has(self.dataset) || has(self.dataset.validation) || "
        "!(has(self.evaluation.everySteps) || self.evaluation.sampleImages > "
        f"{DEFAULT_SAMPLES})",
        "evaluation.everySteps and evaluation.sampleImages need data to evaluate on: set "
        "dataset.validation, or remove them",
    ),
    cel_for_new(
        "has(self.pipelineConfig) || !has(self.dataset) || has(self.dataset.validation) || "
        "self.checkpoints.keepBest <= 1",
        "checkpoints.keepBest compares evaluations: set dataset.validation, or remove keepBest",
    ),
    cel_for_new(
        "has(self.pipelineConfig) || !has(self.steps) || "
        "self.optimizer.schedule.warmupSteps < self.steps || "
        "(self.optimizer.schedule.type == 'cosine' && has(self.optimizer.schedule.decaySteps)) "
        "|| self.optimizer.schedule.warmupSteps == 0",
        "the warm-up must end before the training does: set optimizer.schedule.warmupSteps below "
        "steps, or raise steps",
    ),
    cel(
        "has(self.pipelineConfig) || !has(self.earlyStopping) || "
        "(has(self.dataset.validation) && has(self.evaluation.everySteps))",
        "earlyStopping compares evaluations during the run: set dataset.validation and "
        "evaluation.everySteps",
    ),
)
"""What holds between the fields of a spec, as the API server checks it."""


def require_no_evaluation(*, every_steps: int | None, sample_images: int, keep_best: int) -> None:
    """Check the fields of a training that has no data to evaluate on.

    A value that is the default is no error: documents are stored with all defaults.

    Raises:
        ValueError: a field has no effect without evaluations.
    """
    given = {
        "evaluation.everySteps": every_steps,
        "evaluation.sampleImages": sample_images,
        "checkpoints.keepBest": keep_best,
    }
    free = {"evaluation.sampleImages": DEFAULT_SAMPLES, "checkpoints.keepBest": 1}
    idle = {name: value for name, value in given.items() if (value or 0) > free.get(name, 0)}
    if idle:
        shown = ", ".join(f"{name}: {value}" for name, value in idle.items())
        msg = (
            f"expected dataset.validation, the data to evaluate on; received {shown} without "
            f"it: set dataset.validation, or remove {', '.join(idle)}"
        )
        raise ValueError(msg)


def require_short_warmup(schedule: Schedule, steps: int) -> None:
    """Check that the rate reaches `learningRate` within `steps`; a cosine may outlast the run.

    Raises:
        ValueError: the warm-up is too long.
    """
    planned = schedule.type == "cosine" and schedule.decay_steps is not None
    if 0 < steps <= schedule.warmup_steps and not planned:
        msg = (
            "the warm-up must end before the training does: expected "
            f"optimizer.schedule.warmupSteps below steps, {steps}; received "
            f"{schedule.warmup_steps}: lower warmupSteps, or raise steps"
        )
        raise ValueError(msg)
