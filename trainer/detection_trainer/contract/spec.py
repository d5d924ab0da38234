"""The part of a DetectionTraining's spec that a trainer reads.

The operator's API adds what only Kubernetes needs (`KUBERNETES_FIELDS`). Names and defaults are the
TensorFlow Object Detection API's where it has the thing (protos/{ssd,anchor_generator,
train}.proto).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from detection_trainer.contract.augmentation import Augmentation
from detection_trainer.contract.base import (
    Contract,
    Name,
    Positive,
    SpecStorageUri,
    canonical_digest,
    dump,
)
from detection_trainer.contract.dataset import Dataset
from detection_trainer.contract.model import Fraction, Model
from detection_trainer.contract.odapi import reason_without_twin
from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.contract.rules import (
    exactly_one_of,
    is_new_start,
    require_one,
    with_rules,
)
from detection_trainer.contract.saving import Checkpoints, Credentials
from detection_trainer.contract.sources import ContinueSource, Restore
from detection_trainer.contract.spec_rules import (
    DEFAULT_SAMPLES,
    RULES,
    require_no_evaluation,
    require_short_warmup,
)

MAX_PIPELINE_CONFIG = 65536
"""Characters; those of the model zoo have 5,000. What a pod reads must also fit `packing`."""

KUBERNETES_FIELDS = frozenset({
    "activeDeadlineSeconds", "image", "podTemplate", "preflight", "preflightResources", "resources",
    "retryPolicy", "suspend", "ttlSecondsAfterFinished",
})  # fmt: skip
"""Spec fields that configure pods; `detection-trainer run` ignores them and names them."""


class EarlyStopping(Contract):
    """End the run when its evaluations no longer improve."""

    patience: Annotated[int, Field(ge=1, le=1000)]
    """The run ends after this many consecutive evaluations without a better one."""
    metric: Literal["mAP", "mAP50"] = "mAP"
    """The metric that is compared."""
    min_delta: Fraction = 0.0
    """An evaluation is better if it exceeds the best one by more than this."""


class Evaluation(Contract):
    """COCO metrics on the validation set; an evaluated step is always a checkpoint."""

    every_steps: Positive | None = None
    """Absent: at the end only."""
    sample_images: Annotated[int, Field(ge=0, le=16)] = DEFAULT_SAMPLES
    """The number of images that are drawn with their detections, as TensorBoard events."""


class ConfigMapKeyRef(Contract):
    """A key of a ConfigMap of the same namespace."""

    name: Name
    """The name of the ConfigMap."""
    key: Name = "pipeline.config"
    """The key with the text of the pipeline.config."""


class PipelineConfigSource(Contract):
    """A pipeline.config of the OD API: it sets model, optimizer, dataset and more.

    Fields of the spec override it: `dataset` and `restore` as a whole, of others each value that is
    not its default.
    """

    model_config = exactly_one_of("configMapKeyRef", "inline", "uri")

    config_map_key_ref: ConfigMapKeyRef | None = None
    """Read before the first attempt, and kept in the status once there is a checkpoint."""
    inline: Annotated[str, Field(min_length=1, max_length=MAX_PIPELINE_CONFIG)] | None = None
    """The text itself."""
    uri: SpecStorageUri | None = None
    """Read by the preflight's pod, and kept in the status once an attempt runs."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "pipelineConfig", "configMapKeyRef", "inline", "uri")
        return self


Group = Literal["backbone", "feature_extractor"]
ExportFormat = Literal["SavedModel", "ODAPI"]


class TrainingSpec(Contract):
    """What is to be trained, on what, from where, for how long."""

    model_config = with_rules(*RULES)

    pipeline_config: PipelineConfigSource | None = None
    """Instead of `model`; absent where the configuration was read, and its fields stand here."""
    model: Model
    """The detector that is trained."""
    dataset: Dataset
    """What it is trained and evaluated on."""
    restore: Restore | None = None
    """Where the first weights come from; absent: training starts from scratch. Step, optimizer and
    schedule start at 0.
    """
    continue_from: ContinueSource | None = None
    """Instead of restore: another run that this one continues, with its step, optimizer, schedule
    and data position; same classes and model.
    """
    steps: Annotated[int, Field(ge=1, le=2**31 - 1)]
    """The absolute number of steps to train (`num_steps`). Raise it at any time, also on a finished
    training, to train on.
    """
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    """Images of one step, over all workers."""
    optimizer: Optimizer = Optimizer()
    """The update rule and the learning rate."""
    augmentation: Annotated[list[Augmentation], Field(max_length=16)] = []
    """Random changes of the training images, in this order; for example `[{randomHorizontalFlip:
    {}}]`.
    """
    freeze: Annotated[list[Group], Field(max_length=2)] = []
    """Groups of variables that are not trained: `backbone`, `feature_extractor` (the FPN)."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Start of all random numbers: fresh weights, the order of the data and augmentation."""
    deterministic: bool = False
    """Whether the device must compute bit for bit the same each time; slower on GPUs."""
    checkpoints: Checkpoints
    """Where and how often progress is saved, and what is kept."""
    credentials: Annotated[list[Credentials], Field(max_length=16)] = []
    """Which Secret serves which storage."""
    evaluation: Evaluation = Evaluation()
    """When COCO metrics are computed on dataset.validation."""
    early_stopping: EarlyStopping | None = None
    """Ends the run where its evaluations no longer improve; absent: it never does."""
    exports: Annotated[list[ExportFormat], Field(max_length=4)] = []
    """Made at the end of the run, of the best checkpoint, else the newest: see `status.exports`."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 1
    """Pods that train one model together; gradients are reduced over all."""

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Self:
        if self.restore is not None and self.continue_from is not None:
            msg = "restore and continueFrom exclude each other: remove one"
            raise ValueError(msg)
        if self.batch_size % self.workers:
            msg = f"batchSize {self.batch_size} must be divisible by workers {self.workers}"
            raise ValueError(msg)
        evaluated = self.dataset.validation and self.evaluation.every_steps
        if self.early_stopping is not None and not evaluated:
            msg = "earlyStopping needs dataset.validation and evaluation.everySteps: set both"
            raise ValueError(msg)
        if is_new_start(info):
            self._require_fields_with_effect()
        reason = reason_without_twin(self.model) if "ODAPI" in self.exports else None
        if reason is not None:
            msg = f"exports: ODAPI: {reason}"
            raise ValueError(msg)
        return self

    def _require_fields_with_effect(self) -> None:
        if self.dataset.validation is None:
            require_no_evaluation(
                every_steps=self.evaluation.every_steps,
                sample_images=self.evaluation.sample_images,
                keep_best=self.checkpoints.keep_best,
            )
        require_short_warmup(self.optimizer.schedule, self.steps)


START_FIELDS = frozenset({"restore", "continueFrom"})
"""Spec fields that decide how the run begins; its first checkpoint records the result."""
FREE_FIELDS = frozenset({
    "steps", "checkpoints", "credentials", "earlyStopping", "evaluation", "exports", "workers",
})  # fmt: skip
"""Spec fields that may change once the training has started."""


def mathematics(spec: TrainingSpec) -> dict[str, Any]:
    """Return what decides the run's numbers; it must not change once a checkpoint exists.

    `optimizer.schedule.onExtend` is left out: it decides what raised steps mean.
    """
    apart = FREE_FIELDS | START_FIELDS
    fields = {key: value for key, value in dump(spec).items() if key not in apart}
    schedule = {k: v for k, v in fields["optimizer"]["schedule"].items() if k != "onExtend"}
    fields["optimizer"] = {**fields["optimizer"], "schedule": schedule}
    return fields


def config_digest(spec: TrainingSpec) -> str:
    """Return the digest of the run's mathematics: the identity that owns a checkpoint folder."""
    return canonical_digest(mathematics(spec))
