"""What a trainer tells the operator: whole snapshots, so that a lost one costs nothing.

Sent as JSON to `POST {report-url}`; the last one carries the outcome and must be acknowledged
before the process exits. The outcome is also the container's termination message.

Every number, text and list has a bound, so that what is acknowledged can always be written to the
status.
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
from detection_trainer.contract.spec import ExportFormat, RestoreMode

MAX_CHECKPOINTS = 20
MAX_EXPORTS = 20
MAX_DIFFERENCES = 50
MAX_REPORT_BYTES = 256 * 1024
MAX_TERMINATION_BYTES = 4096
"""The kubelet cuts a termination message here."""

Step = Annotated[int, Field(ge=0, le=2**31 - 1)]
Metrics = Annotated[dict[Annotated[str, Field(max_length=128)], float], Field(max_length=64)]


class CheckpointRecord(Contract):
    """A committed checkpoint, as its manifest says."""

    step: Step
    uri: RestoreUri
    digest: Digest
    saved_at: Time
    metrics: Metrics = {}


class SkippedCheckpoint(Contract):
    """A checkpoint that was found damaged, and so not used."""

    step: Step
    problem: Text


class ExportRecord(Contract):
    """A model in a format for other programs, committed in storage."""

    format: ExportFormat
    step: Step
    uri: StorageUri
    digest: Digest
    """Of the weights: that of the checkpoint it was made from."""


class VariableCounts(Contract):
    """How many variables a restore assigned, and how many it left fresh."""

    restored: Count
    fresh: Count


GroupName = Annotated[str, Field(max_length=64)]
Groups = Annotated[dict[GroupName, VariableCounts], Field(max_length=16)]


class Restored(Contract):
    """Where the run's first weights came from; kept in its own checkpoints."""

    mode: RestoreMode | None = None
    """Absent for `continueFrom`, which takes everything, optimizer and step included."""
    uri: RestoreUri
    step: Step | None = None
    digest: Digest | None = None
    variables: VariableCounts
    groups: Groups = {}


class Progress(Contract):
    """How the running loop does; what is unknown or not finite is left out."""

    loss: float | None = None
    learning_rate: float | None = None
    steps_per_second: float | None = None
    data_wait_fraction: float | None = None
    checkpoint_seconds: float | None = None
    memory_bytes: Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)] | None = None


class DatasetPin(Contract):
    """The training set as a preflight found it: an attempt that finds other files is refused."""

    digest: Digest
    """Over the names, sizes and tags (or times) of its files."""
    files: Count
    size_bytes: Count


class Outcome(Contract):
    """How an attempt ended, in the trainer's own words."""

    exit_code: ExitCode
    reason: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z]+$")]
    message: Message
    differences: Annotated[list[Text], Field(max_length=MAX_DIFFERENCES)] = []
    """For a refused restore: the variables that do not fit, with both shapes."""
    dataset: DatasetPin | None = None
    """For a preflight that passed: what the attempt is to be trained on."""
    pipeline_config: Annotated[str, Field(max_length=MAX_PACKED)] | None = None
    """Likewise: the text at `pipelineConfig.uri`, packed (`packing`)."""


class Report(Contract):
    """A snapshot of one attempt."""

    attempt: Positive
    sequence: Count
    """Rises within the attempt; a report that comes late is not applied."""
    time: Time
    step: Step
    target_steps: Step
    resumed_from_step: Step | None = None
    """Where this attempt started: None until known."""
    classes: Annotated[list[ClassName], Field(max_length=1000)] = []
    cycles: Cycles | None = None
    restored: Restored | None = None
    checkpoints: Annotated[list[CheckpointRecord], Field(max_length=MAX_CHECKPOINTS)] = []
    """Newest first, as storage holds them."""
    checkpoint_count: Count = 0
    best: CheckpointRecord | None = None
    exports: Annotated[list[ExportRecord], Field(max_length=MAX_EXPORTS)] = []
    """Newest first, as storage holds them; empty until the run's end."""
    skipped: Annotated[list[SkippedCheckpoint], Field(max_length=MAX_CHECKPOINTS)] = []
    metrics: Metrics = {}
    progress: Progress = Progress()
    outcome: Outcome | None = None
