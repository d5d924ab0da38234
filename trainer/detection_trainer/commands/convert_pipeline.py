"""`detection-trainer convert pipeline-config FILE`: prints the OD API's file as a training."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from detection_trainer.commands.locations import add_credentials, place_uri
from detection_trainer.commands.pipeline_file import load_pipeline_config
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.pipeline_config.mapping import PipelineConfig
from detection_trainer.contract.training import API_VERSION, KIND, parse_training
from detection_trainer.options import parse_credentials
from detection_trainer.training.start import require_startable

ORDER = ("model", "dataset", "restore", "steps", "batchSize", "optimizer", "augmentation")
ABSENT: tuple[Any, ...] = (None, {}, [])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add FILE, and options for what the configuration does not contain."""
    parser.add_argument("source", metavar="FILE", help="path or URI of the pipeline.config")
    parser.add_argument("--name", default="converted", help="metadata.name (default: converted)")
    parser.add_argument("--checkpoints", metavar="URI", help="folder for the checkpoints")
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the DetectionTraining in YAML, with comments about what is ignored and why."""
    credentials = parse_credentials(arguments.credentials)
    config = load_pipeline_config(arguments.source, credentials, Path.cwd())
    # Leave out empty values, but keep a number that is 0.
    spec: dict[str, Any] = {
        name: config.fields[name] for name in ORDER if config.fields.get(name) not in ABSENT
    }
    if arguments.checkpoints:
        spec["checkpoints"] = {"storage": {"uri": place_uri(arguments.checkpoints)}}
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": arguments.name},
        "spec": spec,
    }
    missing = list(_missing(config, spec))
    if not missing:
        require_startable(parse_training(document, arguments.source).spec)
    text = yaml.safe_dump(document, sort_keys=False, width=100, allow_unicode=True)
    comments = "".join(f"# {line}\n" for line in _comments(arguments.source, config, missing))
    sys.stdout.write(comments + text)
    return ExitCode.COMPLETED


def _missing(config: PipelineConfig, spec: dict[str, Any]) -> Iterator[str]:
    for name, why in config.missing.items():
        yield f"spec.{name}: {why}"
    if "checkpoints" not in spec:
        yield "spec.checkpoints.storage: the folder for checkpoints (--checkpoints URI)"


def _comments(source: str, config: PipelineConfig, missing: list[str]) -> Iterator[str]:
    yield f"From {source}."
    if missing:
        yield "Still to set:"
        yield from (f"  {line}" for line in missing)
    if config.notes:
        yield "Ignored, or done in another way:"
        yield from (f"  {note}" for note in config.notes)
