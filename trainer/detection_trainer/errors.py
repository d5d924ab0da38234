"""All errors of a trainer, each with its exit code.

A message states what was received, what was expected, and what to do. `__main__` turns an error
into the outcome, the exit code and one line on standard error; no other code catches them all.
"""

from collections.abc import Sequence
from typing import ClassVar

from detection_trainer.contract.exit_codes import ExitCode


class TrainerError(Exception):
    """Ends the attempt; `exit_code` decides whether a retry makes sense."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED


class InvalidConfigError(TrainerError):
    """The training's document is invalid."""

    exit_code = ExitCode.INVALID_CONFIG


class TooLargeError(InvalidConfigError):
    """A file is larger than its reader accepts; nothing of it was kept."""


class ConfigChangedError(TrainerError):
    """The mounted document differs from the one that the operator wrote."""

    exit_code = ExitCode.CONFIG_CHANGED


class RestoreRefusedError(TrainerError):
    """The source does not fit; nothing was assigned."""

    exit_code = ExitCode.RESTORE_REFUSED

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        """Take the message and the variables that differ, one sentence each."""
        super().__init__(message)
        self.differences = tuple(differences)


class DataInvalidError(TrainerError):
    """The dataset or its label map cannot be used; the message names files and records."""

    exit_code = ExitCode.DATA_INVALID


class DatasetChangedError(DataInvalidError):
    """The dataset or its classes differ from those of the preflight or of the run's start."""

    exit_code = ExitCode.DATASET_CHANGED


class NonFiniteLossError(TrainerError):
    """The loss became NaN or infinite; the message names the step and the last good checkpoint."""

    exit_code = ExitCode.NON_FINITE_LOSS


class StorageInUseError(TrainerError):
    """The checkpoint folder belongs to another run."""

    exit_code = ExitCode.STORAGE_IN_USE


class StorageUnsupportedError(TrainerError):
    """The storage lacks an operation that keeps two trainers apart, such as conditional create."""

    exit_code = ExitCode.STORAGE_UNSUPPORTED


class CheckpointMissingError(TrainerError):
    """A recorded checkpoint is missing, or its format is newer than this version can read."""

    exit_code = ExitCode.CHECKPOINT_MISSING


class DamagedCheckpointError(CheckpointMissingError):
    """The bytes of a committed checkpoint differ from its manifest; a resume skips it."""


class NotFoundError(TrainerError):
    """A location that the training names does not exist."""

    exit_code = ExitCode.NOT_FOUND


class AccessDeniedError(TrainerError):
    """A location refuses the credentials."""

    exit_code = ExitCode.ACCESS_DENIED


class StorageUnavailableError(TrainerError):
    """A location did not answer, even after retries."""

    exit_code = ExitCode.STORAGE_UNAVAILABLE


class StorageFullError(TrainerError):
    """A location has no space left."""

    exit_code = ExitCode.STORAGE_FULL


class SupersededError(TrainerError):
    """A later attempt owns the folder."""

    exit_code = ExitCode.SUPERSEDED


class PeerLostError(TrainerError):
    """Another worker of the training ended or did not connect; the attempt ends for all."""

    exit_code = ExitCode.PEER_LOST
