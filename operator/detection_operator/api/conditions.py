"""Condition types and their reasons: the enum that the reference documents.

Ready, Reconciling and Stalled follow kstatus; Complete, Failed, Suspended and Restored are ours.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    COMPLETE = "Complete"
    FAILED = "Failed"
    SUSPENDED = "Suspended"
    RESTORED = "Restored"


class Phase(StrEnum):
    """One word for people; machines read conditions."""

    PENDING = "Pending"
    """Seen, not started: it waits for another training, or its pods are not made yet."""
    PREFLIGHT = "Preflight"
    """A CPU pod checks data, restore source and folder before a GPU is taken."""
    QUEUED = "Queued"
    """The attempt's pods exist and wait for a node, an image or a volume."""
    STARTING = "Starting"
    """The trainer runs and has not reported a step."""
    RUNNING = "Running"
    RETRYING = "Retrying"
    """An attempt ended early; the next one follows after a back-off."""
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    COMPLETE = "Complete"
    REFUSED = "Refused"
    """It cannot run as it is written; the Stalled condition says what to change."""
    FAILED = "Failed"


class Reason(StrEnum):
    """Why a condition is as it is."""

    # Under way
    ACCEPTED = "Accepted"
    WAITING_FOR_SOURCE = "WaitingForSource"
    PREFLIGHT_RUNNING = "PreflightRunning"
    ATTEMPT_CREATED = "AttemptCreated"
    UNSCHEDULABLE = "Unschedulable"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    POD_REJECTED = "PodRejected"
    QUEUED = "Queued"
    STARTING = "Starting"
    TRAINING = "Training"
    BACKING_OFF = "BackingOff"
    NODE_LOST = "NodeLost"
    SAVING = "Saving"
    # Ended well
    TARGET_REACHED = "TargetReached"
    SUSPENDED_BY_USER = "SuspendedByUser"
    NOT_SUSPENDED = "NotSuspended"
    IN_PROGRESS = "InProgress"
    NOT_FAILED = "NotFailed"
    NOT_STALLED = "NotStalled"
    # Restored
    RESTORED_FROM_SOURCE = "RestoredFromSource"
    CONTINUED_FROM_SOURCE = "ContinuedFromSource"
    FROM_SCRATCH = "FromScratch"
    RESTORE_PENDING = "RestorePending"
    # Refused: the spec must change
    INVALID_SPEC = "InvalidSpec"
    RESTORE_REFUSED = "RestoreRefused"
    SOURCE_NOT_FOUND = "SourceNotFound"
    SOURCE_HAS_NO_CHECKPOINT = "SourceHasNoCheckpoint"
    LEARNING_RATE_ZERO = "LearningRateZero"
    STORAGE_IN_USE = "StorageInUse"
    NOT_SUPPORTED = "NotSupported"
    # Ended badly, named after the trainer's exit codes where it said so
    INVALID_CONFIG = "InvalidConfig"
    DATA_INVALID = "DataInvalid"
    NON_FINITE_LOSS = "NonFiniteLoss"
    CHECKPOINT_MISSING = "CheckpointMissing"
    NOT_FOUND = "NotFound"
    ACCESS_DENIED = "AccessDenied"
    RETRIES_EXHAUSTED = "RetriesExhausted"
    DEADLINE_EXCEEDED = "DeadlineExceeded"
    # Why an attempt was interrupted
    SUSPENDED = "Suspended"
    SAVED = "Saved"
    PREEMPTED = "Preempted"
    EVICTED = "Evicted"
    DELETED = "PodDeleted"
    JOB_DELETED = "JobDeleted"
    KILLED = "Killed"
    OUT_OF_MEMORY = "OutOfMemory"
    STORAGE_UNAVAILABLE = "StorageUnavailable"
    STORAGE_FULL = "StorageFull"
    SUPERSEDED = "Superseded"
    CONFIG_CHANGED = "ConfigChanged"
    START_FAILED = "StartFailed"
    UNEXPECTED = "Unexpected"
