"""A training made of a pipeline.config and a model_dir alone, as the OD API's trainer is started.

The model_dir is only read: what it holds beats `fine_tune_checkpoint`, as it does there. New
checkpoints go to a folder of their own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection_trainer.commands.pipeline_file import load_pipeline_config
from detection_trainer.contract.pipeline_config.mapping import apply_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.training import API_VERSION, KIND, Training, parse_training
from detection_trainer.errors import InvalidConfigError
from detection_trainer.weights.odapi.checkpoint import find_bundle

BESIDE = "-detection-training"
"""What the name of the checkpoint folder beside a model_dir ends in."""
_MAX_NAME = 40


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """What `detection-trainer run --pipeline-config` is given."""

    config: str
    """A path or a URI."""
    model_dir: str | None = None
    """A URI."""
    checkpoints: str | None = None
    """A URI; None: beside the model_dir."""
    steps: int | None = None
    on_extend: str | None = None


def make_training(run: PipelineRun, credentials: Mapping[str, Path]) -> Training:
    """Return the training that the configuration describes, which goes on from the model_dir.

    Raises:
        InvalidConfigError: the configuration does not hold, or nobody says where checkpoints go.
    """
    config = load_pipeline_config(run.config, credentials, Path.cwd())
    said = _said(run, credentials)
    try:
        spec = apply_pipeline_config(config, said)
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
    return parse_training(document, run.config).model_copy(update={"notes": config.notes})


def _said(run: PipelineRun, credentials: Mapping[str, Path]) -> dict[str, Any]:
    said: dict[str, Any] = {"checkpoints": {"storage": {"uri": _folder(run)}}}
    if run.steps is not None:
        said["steps"] = run.steps
    if run.on_extend is not None:
        said["optimizer"] = {"schedule": {"onExtend": run.on_extend}}
    if run.model_dir is not None and find_bundle(run.model_dir, credentials) is not None:
        said["continueFrom"] = {"uri": run.model_dir}
    return said


def _folder(run: PipelineRun) -> str:
    if run.checkpoints is not None:
        return run.checkpoints
    if run.model_dir is None:
        raise InvalidConfigError(
            "--pipeline-config needs a folder for checkpoints: give --model-dir, whose name with "
            f"{BESIDE} is taken, or --checkpoint-uri"
        )
    return f"{run.model_dir.rstrip('/')}{BESIDE}"


def _name(place: str) -> str:
    last = place.rstrip("/").rpartition("/")[2].removesuffix(".config")
    return re.sub(r"[^a-z0-9]+", "-", last.lower()).strip("-")[:_MAX_NAME].strip("-") or "pipeline"
