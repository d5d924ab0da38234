"""Loads a pipeline.config from a path or a URI, and maps it."""

from collections.abc import Mapping
from pathlib import Path

from detection_trainer.contract.pipeline_config.mapping import PipelineConfig, read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.errors import InvalidConfigError, NotFoundError
from detection_trainer.storage import open_parent


def load_pipeline_config(
    place: str, credentials: Mapping[str, Path], working_folder: Path | None = None
) -> PipelineConfig:
    """Return what the configuration at `place` says.

    Args:
        place: a path, or a URI.
        credentials: URI prefix -> directory of keys.
        working_folder: what relative paths in it begin at.

    Raises:
        NotFoundError: there is none.
        InvalidConfigError: it does not hold, or cannot be had here.
    """
    text = _text(place, credentials)
    try:
        return read_pipeline_config(text, str(working_folder) if working_folder else None)
    except PipelineConfigError as error:
        raise InvalidConfigError(f"{place}: {error}") from error


def _text(place: str, credentials: Mapping[str, Path]) -> str:
    try:
        if "://" not in place:
            return Path(place).read_text()
        folder, name = open_parent(place, credentials)
        return folder.read(name).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(
            f"{place}: expected a pipeline.config in UTF-8; reading it failed: {error}"
        ) from error
