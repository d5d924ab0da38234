"""Makes a training from a pipeline.config and a model_dir, the arguments of the OD API's trainer.

The model_dir is only read. As in the OD API, its checkpoints win over `fine_tune_checkpoint`. New
checkpoints are written to another folder.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection_trainer.checkpoints.format import find_checkpoint
from detection_trainer.commands.pipeline_file import load_pipeline_config
from detection_trainer.contract.pipeline_config.mapping import (
    PipelineConfig,
    apply_pipeline_config,
)
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.training import API_VERSION, KIND, Training, parse_training
from detection_trainer.errors import InvalidConfigError, NotFoundError
from detection_trainer.storage import open_folder
from detection_trainer.weights.odapi.checkpoint import explain_strays, find_bundle, find_strays

BESIDE = "-detection-training"
"""Suffix of the checkpoint folder beside a model_dir."""
_MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """The arguments of `detection-trainer run --pipeline-config`."""

    config: str
    """A path or a URI."""
    model_dir: str | None = None
    """A URI."""
    checkpoints: str | None = None
    """A URI; None: beside the model_dir."""
    steps: int | None = None
    on_extend: str | None = None


def make_training(run: PipelineRun, credentials: Mapping[str, Path]) -> Training:
    """Return the training that the configuration describes and that continues the model_dir.

    Raises:
        InvalidConfigError: the configuration is invalid, or no folder for checkpoints is given.
    """
    config = load_pipeline_config(run.config, credentials, Path.cwd())
    beginning, notes = _beginning(run, config, credentials)
    stated = {**_stated(run), **beginning}
    try:
        spec = apply_pipeline_config(config, stated)
    except PipelineConfigError as error:
        raise InvalidConfigError(
            f"{run.config}: {error} (in the file that `detection-trainer convert pipeline-config "
            "FILE` prints)"
        ) from error
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": _name(run.model_dir or run.config)},
        "spec": spec,
    }
    return parse_training(document, run.config).model_copy(
        update={"notes": (*config.notes, *notes)}
    )


def _stated(run: PipelineRun) -> dict[str, Any]:
    stated: dict[str, Any] = {"checkpoints": {"storage": {"uri": _folder(run)}}}
    if run.steps is not None:
        stated["steps"] = run.steps
    if run.on_extend is not None:
        stated["optimizer"] = {"schedule": {"onExtend": run.on_extend}}
    return stated


def _beginning(
    run: PipelineRun, config: PipelineConfig, credentials: Mapping[str, Path]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields that the model_dir adds to the spec, and notes about it.

    Raises:
        InvalidConfigError: it has checkpoints, but does not name the newest.
    """
    if run.model_dir is None:
        return {}, ()
    if find_bundle(run.model_dir, credentials) is not None or _has_own_start(run, credentials):
        return {"continueFrom": {"uri": run.model_dir}}, ()
    source = config.fields.get("restore", {}).get("from", {}).get("uri", "").removesuffix(".index")
    own = f"{_folder(run)}/"
    strays = [
        stray
        for stray in find_strays(run.model_dir, credentials)
        if stray != source and not stray.startswith(own)
    ]
    if strays:
        raise InvalidConfigError(
            f"--model-dir {explain_strays(run.model_dir, strays)}; to start from scratch, name an "
            "empty folder"
        )
    exists = bool(open_folder(run.model_dir, credentials).list())
    what = "has no checkpoint" if exists else "does not exist, or is empty"
    beginning = "fine_tune_checkpoint" if source else "fresh weights"
    return {}, (f"--model-dir {run.model_dir} {what}: the run starts with {beginning}",)


def _has_own_start(run: PipelineRun, credentials: Mapping[str, Path]) -> bool:
    """Return whether the model_dir is a checkpoint or a run's folder of this trainer."""
    if run.model_dir is None or run.model_dir.rstrip("/") == _folder(run).rstrip("/"):
        return False  # The run resumes from its own folder in any case.
    try:
        find_checkpoint(open_folder(run.model_dir, credentials))
    except NotFoundError:
        return False
    return True


def _folder(run: PipelineRun) -> str:
    if run.checkpoints is not None:
        return run.checkpoints
    if run.model_dir is None:
        raise InvalidConfigError(
            "--pipeline-config needs a folder for checkpoints: set --model-dir (checkpoints go "
            f"to that name with {BESIDE} appended) or --checkpoint-uri"
        )
    return f"{run.model_dir.rstrip('/')}{BESIDE}"


def _name(place: str) -> str:
    last = place.rstrip("/").rpartition("/")[2].removesuffix(".config")
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:_MAX_NAME].strip("-") or "pipeline"
