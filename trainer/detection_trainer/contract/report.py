"""What a trainer reports to the operator: complete snapshots, so that a lost one does not matter.

Sent as JSON to `POST {report-url}`. The last report contains the outcome, and the process waits for
its acknowledgement before it exits. The outcome is also the container's termination message.

Every number, text and list has a limit, so that an acknowledged report always fits into the status.
"""

from typing import Annotated

from pydantic import Field

from detection_trainer.contract.base import (
    MAX_COUNT,
    ClassName,
    Contract,
    Count,
    Digest,
    Message,
    Positive,
    RestoreUri,
    StorageUri,
    Text,
    Time,
)
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.packing import MAX_PACKED
from detection_trainer.contract.schedule import Cycles
from detection_trainer.contract.sources import RestoreMode
from detection_trainer.contract.spec import ExportFormat

MAX_CHECKPOINTS = 20
MAX_EXPORTS = 20
MAX_DIFFERENCES = 50
MAX_REPORT_BYTES = 256 * 1024
MAX_TERMINATION_BYTES = 4096
"""The kubelet truncates a termination message here."""

Step = Annotated[int, Field(ge=0, le=2**31 - 1)]
Metrics = Annotated[dict[Annotated[str, Field(max_length=128)], float], Field(max_length=64)]


class CheckpointRecord(Contract):
    """A committed checkpoint, as recorded in its manifest."""

    step: Step
    uri: RestoreUri
    digest: Digest
    saved_at: Time
    metrics: Metrics = {}


class SkippedCheckpoint(Contract):
    """A damaged checkpoint, which was not used."""

    step: Step
    problem: Text


class ExportRecord(Contract):
    """A model in a format for other programs, committed in storage."""

    format: ExportFormat
    step: Step
    uri: StorageUri
    digest: Digest
    """Digest of the weights: that of the exported checkpoint."""


class VariableCounts(Contract):
    """How many variables a restore assigned, and how many it left fresh."""

    restored: Count
    fresh: Count


GroupName = Annotated[str, Field(max_length=64)]
Groups = Annotated[dict[GroupName, VariableCounts], Field(max_length=16)]


class Restored(Contract):
    """The source of the run's initial weights; the run's checkpoints record it."""

    mode: RestoreMode | None = None
    """Absent for `continueFrom`, which also takes optimizer and step."""
    uri: RestoreUri
    step: Step | None = None
    digest: Digest | None = None
    variables: VariableCounts
    groups: Groups = {}


class Progress(Contract):
    """Figures of the running loop; unknown and non-finite ones are left out."""

    loss: float | None = None
    learning_rate: float | None = None
    steps_per_second: float | None = None
    data_wait_fraction: float | None = None
    checkpoint_seconds: float | None = None
    memory_bytes: Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)] | None = None


class DatasetPin(Contract):
    """The training set that a preflight read; an attempt with other files is refused."""

    digest: Digest
    """Digest of the names, sizes and ETags (or times) of its files."""
    files: Count
    size_bytes: Count


class Outcome(Contract):
    """How an attempt or a preflight ended."""

    exit_code: ExitCode
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z]+$")]
    message: Message
    differences: Annotated[list[Text], Field(max_length=MAX_DIFFERENCES)] = []
    """For a refused restore: the variables that differ, with both shapes."""
    dataset: DatasetPin | None = None
    """For a passed preflight: the training set for the attempt."""
    pipeline_config: Annotated[str, Field(max_length=MAX_PACKED)] | None = None
    """For a passed preflight: the text at `pipelineConfig.uri`, packed (`packing`)."""


class Report(Contract):
    """A snapshot of one attempt."""

    attempt: Positive
    sequence: Count
    """Increases within the attempt; a late report is not applied."""
    time: Time
    step: Step
    target_steps: Step
    resumed_from_step: Step | None = None
    """Step at which this attempt began; None until known."""
    classes: Annotated[list[ClassName], Field(max_length=1000)] = []
    cycles: Cycles | None = None
    restored: Restored | None = None
    checkpoints: Annotated[list[CheckpointRecord], Field(max_length=MAX_CHECKPOINTS)] = []
    """The committed checkpoints, newest first."""
    checkpoint_count: Count = 0
    best: CheckpointRecord | None = None
    exports: Annotated[list[ExportRecord], Field(max_length=MAX_EXPORTS)] = []
    """The committed exports, newest first; empty until the end of the run."""
    skipped: Annotated[list[SkippedCheckpoint], Field(max_length=MAX_CHECKPOINTS)] = []
    metrics: Metrics = {}
    progress: Progress = Progress()
    outcome: Outcome | None = None
