"""The exit codes of a trainer, and what each means for the next attempt.

The operator builds its Job's `podFailurePolicy` and its reasons from this table. Kubernetes itself
never uses these codes (137 is SIGKILL, 143 an unhandled SIGTERM).
"""

from enum import IntEnum, StrEnum

EARLY_STOPPED = "EarlyStopped"
"""The reason of an outcome that completed before the target by `spec.earlyStopping`."""


class Verdict(StrEnum):
    """What an ended attempt means for the training."""

    COMPLETE = "Complete"
    SAVED = "Saved"
    PERMANENT = "Permanent"
    RETRYABLE = "Retryable"


class ExitCode(IntEnum):
    """A trainer's exit status; 50-69 must not be retried, 70-89 may be."""

    COMPLETED = 0
    SAVED = 40
    INVALID_CONFIG = 50
    RESTORE_REFUSED = 51
    DATA_INVALID = 52
    NON_FINITE_LOSS = 53
    STORAGE_IN_USE = 54
    CHECKPOINT_MISSING = 55
    NOT_FOUND = 56
    ACCESS_DENIED = 57
    DATASET_CHANGED = 58
    STORAGE_UNSUPPORTED = 59
    UNEXPECTED = 70
    STORAGE_UNAVAILABLE = 71
    OUT_OF_MEMORY = 72
    SUPERSEDED = 73
    STORAGE_FULL = 74
    CONFIG_CHANGED = 75
    PEER_LOST = 76

    @property
    def reason(self) -> str:
        """The CamelCase reason for conditions and outcomes."""
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def verdict(self) -> Verdict:
        """What this code means for the next attempt."""
        match self:
            case ExitCode.COMPLETED:
                return Verdict.COMPLETE
            case ExitCode.SAVED:
                return Verdict.SAVED
            case _:
                permanent = self in PERMANENT_CODES
                return Verdict.PERMANENT if permanent else Verdict.RETRYABLE


PERMANENT_CODES = range(50, 70)
RETRYABLE_CODES = range(70, 90)


def verdict_of(code: int) -> Verdict:
    """Return the verdict of any process exit code; an unknown one may be retried.

    >>> verdict_of(137)
    <Verdict.RETRYABLE: 'Retryable'>
    """
    try:
        return ExitCode(code).verdict
    except ValueError:
        return Verdict.RETRYABLE
