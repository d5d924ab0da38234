"""The content of a checkpoint's `manifest.json`.

It is written last, so that its presence commits the checkpoint. Reading it needs no TensorFlow:
preflight, `checkpoints ls` and every start read it.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import ConfigDict, Field, ValidationError

from detection_trainer.contract.base import ClassName, Contract, Digest, canonical_digest, dump
from detection_trainer.contract.documents import DocumentError, kind_of, parse_json
from detection_trainer.contract.model import Model
from detection_trainer.contract.report import Restored, Step
from detection_trainer.contract.schedule import Cycles
from detection_trainer.contract.training import Identity, explain
from detection_trainer.errors import CheckpointMissingError, DamagedCheckpointError

MAX_MANIFEST_BYTES = 1 << 23
"""The manifest of a ResNet152 detector has 300 KB."""
FORMAT_VERSION = 1
"""Raise it when an older reader would misread the format; new fields alone do not need that."""
MODEL_FILE = "model.safetensors"
OPTIMIZER_FILE = "optimizer.safetensors"
SEAL = "sha256"
"""The field of the document that holds the digest of all other fields."""
AVERAGE = "optimizer/average/"
"""Prefix of a variable's path: its moving average, if the run keeps one."""


class Stored(Contract):
    """A document in storage; fields that a later version added are ignored."""

    model_config = ConfigDict(extra="ignore")


class FileRecord(Stored):
    """One file of the checkpoint."""

    sha256: Digest
    size: Annotated[int, Field(ge=0)]
    """Bytes."""


class VariableRecord(Stored):
    """One variable, named by its stable path."""

    group: str
    """`backbone`, `feature_extractor`, `box_head`, `class_head`, or `optimizer`."""
    file: str
    shape: tuple[int, ...]
    dtype: str


class DataPosition(Stored):
    """The run's position in the data: these values determine the next batch."""

    seed: int
    batch_size: int
    next_batch: int
    dataset_digest: str | None = None


class Environment(Stored):
    """What the bits of a run depend on, apart from its configuration."""

    intra_op_threads: int
    inter_op_threads: int
    one_dnn: str
    """`TF_ENABLE_ONEDNN_OPTS` of the process, or `default`."""
    deterministic: bool
    devices: list[str] = []
    world_size: int = 1
    libraries: dict[str, str] = {}

    def differences(self, other: "Environment") -> list[str]:
        """Return each value that differs in `other`, as a sentence."""
        mine = self.model_dump(by_alias=False)
        theirs = other.model_dump(by_alias=False)
        return [
            f"{field.replace('_', ' ')} was {mine[field]}, now {theirs[field]}"
            for field in mine
            if mine[field] != theirs[field]
        ]


class Patience(Stored):
    """The counters of early stopping, up to this checkpoint."""

    target_steps: Step
    """`spec.steps` when it was counted."""
    evaluated_step: int = -1
    """The last evaluation that counted."""
    best: float | None = None
    best_step: Step | None = None
    misses: Annotated[int, Field(ge=0)] = 0
    """Evaluations since the best one."""


class Manifest(Stored):
    """Everything that a later attempt, a restore or a person needs to know of a checkpoint."""

    format_version: int
    step: Step
    saved_at: datetime
    attempt: int
    identity: Identity
    config_digest: Digest
    classes: list[ClassName]
    model: Model
    optimizer: str
    cycles: Cycles
    data: DataPosition
    environment: Environment
    restored: Restored | None = None
    patience: Patience | None = None
    files: dict[str, FileRecord]
    variables: dict[str, VariableRecord]

    @property
    def digest(self) -> str:
        """The digest of the model's variables; equal weights have equal digests."""
        return self.files[MODEL_FILE].sha256

    @property
    def averaged(self) -> list[str]:
        """The paths of the weights that have a moving average."""
        return [
            path.removeprefix(AVERAGE)
            for path, variable in self.variables.items()
            if path.startswith(AVERAGE) and variable.file == OPTIMIZER_FILE
        ]

    def shapes(self, file: str = MODEL_FILE) -> dict[str, tuple[int, ...]]:
        """Return path -> shape of the variables in `file`."""
        return {path: v.shape for path, v in self.variables.items() if v.file == file}


def seal(manifest: Manifest) -> dict[str, Any]:
    """Return the document of `manifest`, with a digest of its other fields."""
    document = dump(manifest)
    return {**document, SEAL: canonical_digest(document)}


def parse_manifest(data: bytes, place: str) -> Manifest:
    """Return the manifest parsed from `data`, which was read at `place`.

    Raises:
        CheckpointMissingError: its format is newer; a resume never skips such a checkpoint.
        DamagedCheckpointError: it is not a manifest, or its content has changed.
    """
    document = _json_object(data, place)
    # Version 0.1.0 wrote manifests without a seal.
    is_sealed, recorded = SEAL in document, document.pop(SEAL, None)
    version = document.get("formatVersion")
    if isinstance(version, int) and version > FORMAT_VERSION:
        msg = (
            f"{place}: the checkpoint has format version {version}; this trainer reads versions "
            f"up to {FORMAT_VERSION}: use the newer image that wrote it"
        )
        raise CheckpointMissingError(msg)
    if is_sealed and (recorded is None or recorded != _digest(document)):
        raise DamagedCheckpointError(
            f"{place}: the manifest has changed since it was written (its digest differs): use "
            "another checkpoint"
        )
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        msg = f"{place}: the manifest is invalid: {explain(error)[:512]}"
        raise DamagedCheckpointError(msg) from error
    _require_files(manifest, place)
    return manifest


def _require_files(manifest: Manifest, place: str) -> None:
    if MODEL_FILE not in manifest.files:
        raise DamagedCheckpointError(f"{place}: the manifest names no {MODEL_FILE}")
    elsewhere = next((name for name in manifest.files if "/" in name or "\\" in name), None)
    if elsewhere is not None:
        raise DamagedCheckpointError(
            f"{place}: expected files in the manifest's folder; received {elsewhere[:80]!r}: use "
            "another checkpoint"
        )


def _digest(document: dict[str, Any]) -> str | None:
    try:
        return canonical_digest(document)
    except ValueError:  # Infinity (1e999), which no manifest contains.
        return None


def _json_object(data: bytes, place: str) -> dict[str, Any]:
    try:
        document = parse_json(data)
    except DocumentError as error:
        msg = f"{place}: the manifest cannot be read: {error}: use another checkpoint"
        raise DamagedCheckpointError(msg) from error
    if not isinstance(document, dict):
        msg = f"{place}: expected a JSON object; received {kind_of(document)}"
        raise DamagedCheckpointError(msg)
    return document
