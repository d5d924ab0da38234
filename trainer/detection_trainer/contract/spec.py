"""The part of a DetectionTraining's spec that a trainer reads.

The operator's API adds what only Kubernetes needs (`KUBERNETES_FIELDS`). Names and defaults are the
TensorFlow Object Detection API's where it has the thing (protos/{ssd,anchor_generator,
train}.proto).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from detection_trainer.contract.augmentation import Augmentation
from detection_trainer.contract.base import (
    ClassName,
    Contract,
    Name,
    Positive,
    RestoreUri,
    StorageUri,
    canonical_digest,
    dump,
)
from detection_trainer.contract.model import Fraction, Model
from detection_trainer.contract.odapi import BACKBONES, reason_without_twin
from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.contract.rules import cel, exactly_one_of, require_one, with_rules

MAX_PIPELINE_CONFIG = 65536
"""Characters; those of the model zoo have 5,000. What a pod reads must also fit `packing`."""
_NAMES_SHOWN = 10

KUBERNETES_FIELDS = frozenset({
    "activeDeadlineSeconds", "image", "podTemplate", "preflight", "preflightResources", "resources",
    "retryPolicy", "suspend", "ttlSecondsAfterFinished",
})  # fmt: skip
"""Spec fields that say how pods run; `detection-trainer run` leaves them aside, by name."""


class RestoreMode(StrEnum):
    """`fine_tune_checkpoint_type` of the OD API (train.proto)."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    FULL = "full"


class Place(Contract):
    """Where data lies; the last path segment may hold `*` wildcards."""

    uri: StorageUri


class Dataset(Contract):
    """TFRecords with the OD API's features, and the classes they hold."""

    model_config = exactly_one_of("labelMap", "classes")

    train: Place
    validation: Place | None = None
    label_map: Place | None = None
    classes: Annotated[list[ClassName], Field(min_length=1, max_length=1000)] | None = None
    num_classes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many classes there are to be, as `num_classes` of a pipeline.config says: a check."""
    max_bad_records: Annotated[int, Field(ge=0, le=10**9)] = 0

    @model_validator(mode="after")
    def _one_source_of_classes(self) -> Self:
        require_one(self, "dataset", "labelMap", "classes")
        if self.classes is not None and len(set(self.classes)) != len(self.classes):
            msg = f"dataset.classes must not repeat a name; received {self.classes}"
            raise ValueError(msg)
        if self.classes is not None:
            self.require_count(self.classes, "dataset.classes")
        return self

    def require_count(self, classes: Sequence[str], place: str) -> None:
        """Compare `classes`, which stand at `place`, with the count that is expected.

        Raises:
            ValueError: it is another.
        """
        if self.num_classes in {None, len(classes)}:
            return
        shown = ", ".join(classes[:_NAMES_SHOWN]) + (", …" if len(classes) > _NAMES_SHOWN else "")
        msg = (
            f"{place}: expected {self.num_classes} classes, as dataset.numClasses (num_classes of "
            f"a pipeline.config) says; received {len(classes)}: {shown}. Correct the number, or "
            "name the label map with all classes"
        )
        raise ValueError(msg)


class TrainingRef(Contract):
    """Another DetectionTraining of the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    select: Literal["Latest", "Best"] = "Latest"
    step: Annotated[int, Field(ge=0)] | None = None


class RestoreSource(Contract):
    """Exactly one place to take weights from."""

    model_config = exactly_one_of("uri", "trainingRef")

    uri: RestoreUri | None = None
    training_ref: TrainingRef | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "a restore source", "uri", "trainingRef")
        return self


class Restore(Contract):
    """How a new training starts: step, optimizer and schedule begin at 0 in every mode."""

    model_config = with_rules(
        cel(
            "!has(self.from.uri) || !self.from.uri.startsWith('keras://') "
            "|| self.mode == 'classification'",
            "a keras:// source is an image classifier: use mode classification",
        ),
    )

    mode: RestoreMode
    from_: Annotated[RestoreSource, Field(alias="from")]


class ContinueSource(Contract):
    """Exactly one run to go on from, with its step, optimizer, schedule and data position."""

    model_config = exactly_one_of("uri", "trainingRef")

    uri: StorageUri | None = None
    training_ref: TrainingRef | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "continueFrom", "uri", "trainingRef")
        return self


class VolumeClaim(Contract):
    """A PersistentVolumeClaim: an existing one by `claimName`, or a new one of `size`."""

    model_config = exactly_one_of("claimName", "size")

    claim_name: Name | None = None
    size: (
        Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$")]
        | None
    ) = None
    storage_class_name: Name | None = None
    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]],
        Field(min_length=1, max_length=3),
    ] = ["ReadWriteOnce"]
    when_deleted: Literal["Retain", "Delete"] = "Retain"

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "volumeClaim", "claimName", "size")
        return self


class Storage(Contract):
    """Exactly one folder for this run's checkpoints."""

    model_config = exactly_one_of("uri", "volumeClaim")

    uri: StorageUri | None = None
    volume_claim: VolumeClaim | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "checkpoints.storage", "uri", "volumeClaim")
        return self


class Checkpoints(Contract):
    """Where and how often progress is saved, and what is kept."""

    storage: Storage
    every_steps: Positive = 1000
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 5
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    keep_every_steps: Positive | None = None


class SecretRef(Contract):
    """A Secret of the same namespace."""

    name: Name


class Credentials(Contract):
    """Which Secret serves which place; its keys are the usual names (AWS_ACCESS_KEY_ID, …)."""

    uri_prefix: Annotated[str, Field(max_length=1024, pattern=r"^(s3|gs|az)://.*$")]
    secret_ref: SecretRef


class EarlyStopping(Contract):
    """End the run where its evaluations stop rising."""

    patience: Annotated[int, Field(ge=1, le=1000)]
    """So many evaluations in a row without a better one end it."""
    metric: Literal["mAP", "mAP50"] = "mAP"
    min_delta: Fraction = 0.0
    """An evaluation is better where it lies above the best one by more than this."""


class Evaluation(Contract):
    """COCO metrics on the validation set; an evaluated step is always a checkpoint."""

    every_steps: Positive | None = None
    """Absent: at the end only."""
    sample_images: Annotated[int, Field(ge=0, le=16)] = 4
    """So many images are drawn with what is found in them, among the TensorBoard events."""


class ConfigMapKeyRef(Contract):
    """A key of a ConfigMap of the same namespace."""

    name: Name
    key: Name = "pipeline.config"


class PipelineConfigSource(Contract):
    """A pipeline.config of the OD API: it gives model, optimizer, dataset and what else it says.

    Fields of the spec win over it: `dataset` and `restore` as a whole, of others each value that
    is not its default.
    """

    model_config = exactly_one_of("configMapKeyRef", "inline", "uri")

    config_map_key_ref: ConfigMapKeyRef | None = None
    """Read before the first attempt, and kept in the status once there is a checkpoint."""
    inline: Annotated[str, Field(min_length=1, max_length=MAX_PIPELINE_CONFIG)] | None = None
    uri: StorageUri | None = None
    """Read by the preflight's pod, and kept in the status once an attempt runs."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "pipelineConfig", "configMapKeyRef", "inline", "uri")
        return self


Group = Literal["backbone", "feature_extractor"]
ExportFormat = Literal["SavedModel", "ODAPI"]


RULES = (
    cel(
        "has(self.model) != has(self.pipelineConfig)",
        "exactly one of model, pipelineConfig must be set",
    ),
    cel(
        "has(self.pipelineConfig) || (has(self.dataset) && has(self.steps))",
        "dataset and steps must be set; only a pipelineConfig can give them",
    ),
    cel(
        "!(has(self.restore) && has(self.continueFrom))",
        "restore and continueFrom exclude each other: restore begins at step 0, "
        "continueFrom goes on at the source's step",
    ),
    cel(
        "has(self.pipelineConfig) || self.batchSize % self.workers == 0",
        "batchSize counts all workers together: it must be divisible by workers",
    ),
    cel(
        "self.workers == 1 || !has(self.checkpoints.storage.volumeClaim) || "
        "self.checkpoints.storage.volumeClaim.accessModes.exists(m, m == 'ReadWriteMany')",
        "several workers need storage that all can mount: a uri, or a claim ReadWriteMany",
    ),
    cel(
        "has(self.pipelineConfig) || !has(self.optimizer.schedule.decaySteps) || "
        "self.optimizer.schedule.type != 'cosine' || "
        "self.optimizer.schedule.onExtend != 'Hold' || "
        "self.optimizer.schedule.finalFraction > 0.0 || "
        "self.steps <= self.optimizer.schedule.decaySteps",
        "the learning rate would be 0 after decaySteps and nothing would be learned: set "
        "optimizer.schedule.finalFraction above 0, onExtend: Restart, or decaySteps to steps",
    ),
    cel(
        "has(self.pipelineConfig) || !('ODAPI' in self.exports) || self.model.backbone in "
        f"[{', '.join(repr(str(name)) for name in BACKBONES)}]",
        f"exports: ODAPI needs a backbone that the OD API has: {', '.join(BACKBONES)}",
    ),
    cel(
        "has(self.pipelineConfig) || !has(self.earlyStopping) || "
        "(has(self.dataset.validation) && has(self.evaluation.everySteps))",
        "earlyStopping judges evaluations during the run: set dataset.validation and "
        "evaluation.everySteps",
    ),
)
"""What holds between the fields of a spec, as the API server checks it."""


class TrainingSpec(Contract):
    """What is to be trained, on what, from where, for how long."""

    model_config = with_rules(*RULES)

    pipeline_config: PipelineConfigSource | None = None
    """Instead of `model`; absent where the configuration was read, and its fields stand here."""
    model: Model
    dataset: Dataset
    restore: Restore | None = None
    continue_from: ContinueSource | None = None
    steps: Annotated[int, Field(ge=1, le=2**31 - 1)]
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    optimizer: Optimizer = Optimizer()
    augmentation: Annotated[list[Augmentation], Field(max_length=16)] = []
    freeze: Annotated[list[Group], Field(max_length=2)] = []
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    deterministic: bool = False
    checkpoints: Checkpoints
    credentials: Annotated[list[Credentials], Field(max_length=16)] = []
    evaluation: Evaluation = Evaluation()
    early_stopping: EarlyStopping | None = None
    exports: Annotated[list[ExportFormat], Field(max_length=4)] = []
    """Made at the end of the run, of the best checkpoint, else the newest: see `status.exports`."""
    workers: Annotated[int, Field(ge=1, le=1024)] = 1

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
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
        reason = reason_without_twin(self.model) if "ODAPI" in self.exports else None
        if reason is not None:
            msg = f"exports: ODAPI: {reason}"
            raise ValueError(msg)
        return self


START_FIELDS = frozenset({"restore", "continueFrom"})
"""Spec fields that say how the run begins; its first checkpoint records what came of them."""
FREE_FIELDS = frozenset({
    "steps", "checkpoints", "credentials", "earlyStopping", "evaluation", "exports", "workers",
})  # fmt: skip
"""Spec fields that may change once the training has started."""


def mathematics(spec: TrainingSpec) -> dict[str, Any]:
    """Return what decides the run's numbers; it must not change once a checkpoint exists.

    `optimizer.schedule.onExtend` is left out: it says what raised steps mean.
    """
    apart = FREE_FIELDS | START_FIELDS
    fields = {key: value for key, value in dump(spec).items() if key not in apart}
    schedule = {k: v for k, v in fields["optimizer"]["schedule"].items() if k != "onExtend"}
    fields["optimizer"] = {**fields["optimizer"], "schedule": schedule}
    return fields


def config_digest(spec: TrainingSpec) -> str:
    """Return the digest of the run's mathematics: the identity that owns a checkpoint folder."""
    return canonical_digest(mathematics(spec))
