"""Where the first weights of a run come from: `restore` and `continueFrom`."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from detection_trainer.contract.base import Contract, SpecRestoreUri, SpecStorageUri
from detection_trainer.contract.rules import cel, exactly_one_of, require_one, with_rules


class RestoreMode(StrEnum):
    """`fine_tune_checkpoint_type` of the OD API (train.proto)."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    FULL = "full"


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
