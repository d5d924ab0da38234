"""Where checkpoints are stored, which are kept, and the Secrets that open a storage."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from detection_trainer.contract.base import Contract, Name, Positive, SpecStorageUri, text_rule
from detection_trainer.contract.rules import exactly_one_of, require_one


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
    """Which Secret opens which URIs; its keys are the usual names (AWS_ACCESS_KEY_ID, …)."""

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
    AWS_ENDPOINT_URL, AWS_REGION and similar ones.
    """
