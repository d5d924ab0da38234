"""The part of a DetectionTraining's spec that a trainer reads.

The operator's API adds what only Kubernetes needs (`KUBERNETES_FIELDS`). Names and defaults are the
TensorFlow Object Detection API's where it has the thing (protos/{ssd,anchor_generator,
train}.proto).
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from detection_trainer.contract.augmentation import Augmentation
from detection_trainer.contract.base import (
    ClassName,
    Contract,
    Name,
    Positive,
    SpecRestoreUri,
    SpecStorageUri,
    canonical_digest,
    dump,
    text_rule,
)
from detection_trainer.contract.model import Fraction, Model
from detection_trainer.contract.odapi import reason_without_twin
from detection_trainer.contract.optimizer import Optimizer
from detection_trainer.contract.rules import (
    cel,
    exactly_one_of,
    is_new_start,
    require_one,
    rules_of,
    with_rules,
)
from detection_trainer.contract.spec_rules import (
    DEFAULT_SAMPLES,
    RULES,
    require_no_evaluation,
    require_short_warmup,
)

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

    uri: SpecStorageUri
    """s3://, gs://, az:// or file:// (a mounted volume), for example
    `s3://data/trees/train-*.tfrecord`.
    """
    additional_uris: Annotated[list[SpecStorageUri], Field(min_length=1, max_length=64)] | None = (
        None
    )
    """More files of the same set, in this order, each as in `uri`. A file that several patterns
    match counts once. Absent: none. For example `[s3://data/parks/train-*.tfrecord]`.
    """


class File(Contract):
    """A single file."""

    uri: SpecStorageUri
    """s3://, gs://, az:// or file:// (a mounted volume), for example
    `s3://data/trees/label_map.pbtxt`.
    """


class Dataset(Contract):
    """TFRecords with the OD API's features, and the classes they hold."""

    model_config = with_rules(
        *rules_of(exactly_one_of("labelMap", "classes")),
        cel(
            "!has(self.classes) || !has(self.numClasses) || size(self.classes) == self.numClasses",
            "numClasses must be the number of classes: correct it, or leave it out",
        ),
    )

    train: Place
    """The TFRecords to train on."""
    validation: Place | None = None
    """The TFRecords to evaluate on; absent: no evaluation."""
    label_map: File | None = None
    """The OD API's label map (`label_map.pbtxt`); exactly one of labelMap and classes is given."""
    classes: Annotated[list[ClassName], Field(min_length=1, max_length=1000)] | None = None
    """The names of the classes in the order of their ids, which start at 1, for example `[tree,
    car]`.
    """
    num_classes: Annotated[int, Field(ge=1, le=1000)] | None = None
    """How many classes there are to be, as `num_classes` of a pipeline.config says: a check."""
    max_bad_records: Annotated[int, Field(ge=0, le=10**9)] = 0
    """Records that may be unreadable or invalid in all; one more fails the training with
    DataInvalid.
    """

    @model_validator(mode="after")
    def _one_source_of_classes(self) -> Self:
        require_one(self, "dataset", "labelMap", "classes")
        if self.classes is not None:
            _require_distinct(self.classes)
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
            f"{place}: expected {self.num_classes} classes, the value of dataset.numClasses "
            f"(num_classes of a pipeline.config); received {len(classes)}: {shown}. Correct the "
            "number, or name the label map with all classes"
        )
        raise ValueError(msg)


def _require_distinct(classes: Sequence[str]) -> None:
    """Raise where a name is there twice: no rule of admission can afford to compare 1,000 names."""
    places: dict[str, list[str]] = {}
    for number, name in enumerate(classes, start=1):
        places.setdefault(name, []).append(str(number))
    repeated = [f"{n!r} as {' and '.join(ids)}" for n, ids in places.items() if len(ids) > 1]
    if repeated:
        shown = ", ".join(repeated[:_NAMES_SHOWN])
        msg = (
            f"dataset.classes: expected each name once, because its place is the class's id; "
            f"received {shown}: remove or rename the repeated ones"
        )
        raise ValueError(msg)


class TrainingRef(Contract):
    """Another DetectionTraining of the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=40)]
    """The name of the DetectionTraining."""
    select: Literal["Latest", "Best"] = "Latest"
    """Its newest checkpoint, or the one with the best mAP; both wait until it is complete."""
    step: Annotated[int, Field(ge=0)] | None = None
    """Instead: its checkpoint of this step, as soon as it exists."""


class RestoreSource(Contract):
    """Exactly one place to take weights from."""

    model_config = exactly_one_of("uri", "trainingRef")

    uri: SpecRestoreUri | None = None
    """A checkpoint of this product, of the OD API (`…/ckpt-N`) or of Keras, or pretrained weights:
    s3://, gs://, az://, file:// or keras://, for example `keras://resnet50/imagenet`.
    """
    training_ref: TrainingRef | None = None
    """A DetectionTraining of the same namespace."""

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
    """What is restored, as fine_tune_checkpoint_type of the OD API. `classification`: the
    classification backbone alone, as from an image classifier. `detection`: the entire feature
    extractor, backbone and FPN; the box and class heads start fresh, so the classes may differ.
    `full`: the whole model, heads included; only for the same classes, else the shapes do not fit
    and the restore is refused. Step, optimizer and schedule start at 0 in each mode; to keep them,
    use continueFrom.
    """
    from_: Annotated[RestoreSource, Field(alias="from")]
    """Where the weights come from."""


class ContinueSource(Contract):
    """Exactly one run to continue, with its step, optimizer, schedule and data position."""

    model_config = exactly_one_of("uri", "trainingRef")

    uri: SpecStorageUri | None = None
    """The checkpoint folder of another run, or an OD API model_dir, for example `s3://runs/trees`.
    """
    training_ref: TrainingRef | None = None
    """A DetectionTraining of the same namespace."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "continueFrom", "uri", "trainingRef")
        return self


class VolumeClaim(Contract):
    """A PersistentVolumeClaim: an existing one by `claimName`, or a new one of `size`."""

    model_config = exactly_one_of("claimName", "size")

    claim_name: Name | None = None
    """An existing PersistentVolumeClaim of the namespace."""
    size: (
        Annotated[
            str,
            Field(max_length=32),
            *text_rule(
                r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$",
                "expected a number and a unit without a space between: Ki, Mi, Gi, Ti, k, M, G, T, "
                "or none for bytes, for example 20Gi",
            ),
        ]
        | None
    ) = None
    """The size of a new claim, for example `20Gi`."""
    storage_class_name: Name | None = None
    """The StorageClass of the new claim; absent: the cluster's default."""
    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"]],
        Field(min_length=1, max_length=3),
    ] = ["ReadWriteOnce"]
    """Access modes of the new claim; several workers need ReadWriteMany."""
    when_deleted: Literal["Retain", "Delete"] = "Retain"
    """Whether the new claim outlives the training: `Retain` keeps it, `Delete` deletes it too."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "volumeClaim", "claimName", "size")
        return self


class Storage(Contract):
    """Exactly one folder for this run's checkpoints."""

    model_config = exactly_one_of("uri", "volumeClaim")

    uri: SpecStorageUri | None = None
    """A folder of its own at s3://, gs:// or az://, or file:// on a mounted volume, for example
    `s3://runs/trees`.
    """
    volume_claim: VolumeClaim | None = None
    """A PersistentVolumeClaim that the operator mounts."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        require_one(self, "checkpoints.storage", "uri", "volumeClaim")
        return self


class Checkpoints(Contract):
    """Where and how often progress is saved, and what is kept."""

    storage: Storage
    """Where the checkpoints are stored; a folder belongs to one training."""
    every_steps: Positive = 1000
    """Steps between two checkpoints."""
    keep_last: Annotated[int, Field(ge=1, le=1000)] = 5
    """The newest checkpoints that are kept."""
    keep_best: Annotated[int, Field(ge=0, le=1000)] = 1
    """The checkpoints with the best mAP that are kept beside them."""
    keep_every_steps: Positive | None = None
    """Every checkpoint whose step is a multiple of this is kept too; absent: none."""


class SecretRef(Contract):
    """A Secret of the same namespace."""

    name: Name
    """The name of the Secret."""


class Credentials(Contract):
    """Which Secret serves which place; its keys are the usual names (AWS_ACCESS_KEY_ID, …)."""

    uri_prefix: Annotated[
        str,
        Field(max_length=1024),
        *text_rule(
            "^(s3|gs|az)://",
            "expected the beginning of URIs with s3://, gs:// or az://, for example s3://runs/; "
            "file:// needs no credentials",
        ),
    ]
    """The URIs that the Secret serves, by their beginning; the longest prefix wins, for example
    `s3://runs/`.
    """
    secret_ref: SecretRef
    """A Secret with the usual variables as keys: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_ENDPOINT_URL, AWS_REGION and their kin.
    """


class EarlyStopping(Contract):
    """End the run where its evaluations stop rising."""

    patience: Annotated[int, Field(ge=1, le=1000)]
    """So many evaluations in a row without a better one end it."""
    metric: Literal["mAP", "mAP50"] = "mAP"
    """The metric that is judged."""
    min_delta: Fraction = 0.0
    """An evaluation is better where it lies above the best one by more than this."""


class Evaluation(Contract):
    """COCO metrics on the validation set; an evaluated step is always a checkpoint."""

    every_steps: Positive | None = None
    """Absent: at the end only."""
    sample_images: Annotated[int, Field(ge=0, le=16)] = DEFAULT_SAMPLES
    """So many images are drawn with what is found in them, among the TensorBoard events."""


class ConfigMapKeyRef(Contract):
    """A key of a ConfigMap of the same namespace."""

    name: Name
    """The name of the ConfigMap."""
    key: Name = "pipeline.config"
    """The key that holds the text of the pipeline.config."""


class PipelineConfigSource(Contract):
    """A pipeline.config of the OD API: it gives model, optimizer, dataset and what else it says.

    Fields of the spec win over it: `dataset` and `restore` as a whole, of others each value that
    is not its default.
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
