"""Every way in which a trainer fails, each with its exit code.

A message says what was received, what was expected, and what to do. `__main__` turns an error into
the outcome, the exit code and one line on standard error; nothing else catches them all.
"""

from collections.abc import Sequence
from typing import ClassVar

from detection_trainer.contract.exit_codes import ExitCode


class TrainerError(Exception):
    """The attempt ends; `exit_code` says whether another one may help."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED


class InvalidConfigError(TrainerError):
    """The training's document is invalid."""

    exit_code = ExitCode.INVALID_CONFIG


class TooLargeError(InvalidConfigError):
    """A file is larger than its reader takes; nothing of it was kept."""


class ConfigChangedError(TrainerError):
    """The mounted document is not the one that the operator wrote."""

    exit_code = ExitCode.CONFIG_CHANGED


class RestoreRefusedError(TrainerError):
    """The source does not fit; nothing was assigned."""

    exit_code = ExitCode.RESTORE_REFUSED

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        """Keep the differing variables, one sentence each, beside the message."""
        super().__init__(message)
        self.differences = tuple(differences)


class DataInvalidError(TrainerError):
    """The dataset or its label map cannot be trained on; files and records are named."""

    exit_code = ExitCode.DATA_INVALID


class DatasetChangedError(DataInvalidError):
    """Training set or classes are not those that were checked, or that the run began with."""

    exit_code = ExitCode.DATASET_CHANGED


class NonFiniteLossError(TrainerError):
    """The loss became NaN or infinite; the step and the last good checkpoint are named."""

    exit_code = ExitCode.NON_FINITE_LOSS


class StorageInUseError(TrainerError):
    """The checkpoint folder belongs to another run."""

    exit_code = ExitCode.STORAGE_IN_USE


class StorageUnsupportedError(TrainerError):
    """The storage cannot do what keeps two trainers apart."""

    exit_code = ExitCode.STORAGE_UNSUPPORTED


class CheckpointMissingError(TrainerError):
    """A recorded checkpoint is no longer there, or of a format that this version cannot read."""

    exit_code = ExitCode.CHECKPOINT_MISSING


class DamagedCheckpointError(CheckpointMissingError):
    """A committed checkpoint's bytes are not those of its manifest; an own one is skipped."""


class NotFoundError(TrainerError):
    """A place that the training names does not exist."""

    exit_code = ExitCode.NOT_FOUND


class AccessDeniedError(TrainerError):
    """A place refuses the credentials it was given."""

    exit_code = ExitCode.ACCESS_DENIED


class StorageUnavailableError(TrainerError):
    """A place did not answer, also after retries."""

    exit_code = ExitCode.STORAGE_UNAVAILABLE


class StorageFullError(TrainerError):
    """A place takes no more data."""

    exit_code = ExitCode.STORAGE_FULL


class SupersededError(TrainerError):
    """A later attempt owns the folder."""

    exit_code = ExitCode.SUPERSEDED


class PeerLostError(TrainerError):
    """Another worker of the training ended or did not come; the attempt ends for all."""

    exit_code = ExitCode.PEER_LOST
