"""Loads a pipeline.config from a path or a URI, and trainings that refer to one."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from detection_trainer.contract.pipeline_config.mapping import PipelineConfig, read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import MAX_PIPELINE_CONFIG
from detection_trainer.contract.training import Training, read_training
from detection_trainer.errors import InvalidConfigError, NotFoundError, TooLargeError
from detection_trainer.storage import open_parent
from detection_trainer.storage.folder import require_small


def load_training(path: Path, credentials: Mapping[str, Path]) -> Training:
    """Return the training in the file at `path`, with the content of its `pipelineConfig.uri`.

    Raises:
        InvalidTrainingError: it is invalid.
        TrainerError: its pipeline.config cannot be read.
    """
    return read_training(path, partial(read_config_text, credentials=credentials))


def load_pipeline_config(
    place: str, credentials: Mapping[str, Path], working_folder: Path | None = None
) -> PipelineConfig:
    """Return the configuration at `place`, mapped to the spec.

    Args:
        place: a path, or a URI.
        credentials: URI prefix -> directory of keys.
        working_folder: the base of relative paths in it.

    Raises:
        NotFoundError: it does not exist.
        InvalidConfigError: it is invalid, or requires something that is not available.
    """
    text = read_config_text(place, credentials)
    try:
        return read_pipeline_config(text, str(working_folder) if working_folder else None)
    except PipelineConfigError as error:
        raise InvalidConfigError(f"{place}: {error}") from error


def read_config_text(place: str, credentials: Mapping[str, Path]) -> str:
    """Return the text at `place`, after checking its kind and size.

    Raises:
        NotFoundError: it does not exist.
        AccessDeniedError: the storage refuses access.
        InvalidConfigError: it is not text, or too large for a pipeline.config.
        StorageUnavailableError: the storage did not answer, even after retries.
    """
    try:
        return _read(place, credentials).decode()
    except OSError as error:
        raise NotFoundError(
            f"{place}: expected a pipeline.config; reading it failed: {error}"
        ) from error
    except NotFoundError as error:
        raise NotFoundError(f"{place}: expected a pipeline.config: {error}") from error
    except TooLargeError as error:
        raise InvalidConfigError(f"pipeline.config {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidConfigError(
            f"{place}: expected a pipeline.config in UTF-8; received something else: {error}"
        ) from error


def _read(place: str, credentials: Mapping[str, Path]) -> bytes:
    if "://" not in place:
        with Path(place).open("rb") as file:
            data = file.read(MAX_PIPELINE_CONFIG + 1)
            size = max(len(data), os.fstat(file.fileno()).st_size)
        require_small(place, size, MAX_PIPELINE_CONFIG)
        return data
    folder, name = open_parent(place, credentials)
    return folder.read_small(name, MAX_PIPELINE_CONFIG)
