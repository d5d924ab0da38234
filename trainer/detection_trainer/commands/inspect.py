"""`detection-trainer inspect FILE|URI`: what a training file, a run's folder or a checkpoint is."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from detection_trainer.checkpoint import MANIFEST_FILE, find_checkpoint
from detection_trainer.commands.places import add_credentials, open_place
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.spec import config_digest
from detection_trainer.contract.training import Training, read_training
from detection_trainer.manifest import Manifest
from detection_trainer.ownership import marker_numbers, read_owner
from detection_trainer.storage import Folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the thing to inspect."""
    text = "a DetectionTraining in YAML or JSON, a checkpoint, or a run's folder"
    parser.add_argument("place", metavar="FILE|URI", help=text)
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print what it is as JSON."""
    if Path(arguments.place).is_file():
        described = _describe_training(read_training(Path(arguments.place)))
    else:
        described = _describe_folder(open_place(arguments.place, arguments.credentials))
    sys.stdout.write(json.dumps(described, indent=2, default=str) + "\n")
    return ExitCode.COMPLETED


def _describe_training(training: Training) -> dict[str, Any]:
    return {
        "identity": dump(training.identity),
        "configDigest": config_digest(training.spec),
        "leftAside": training.set_aside,
        "spec": dump(training.spec),
    }


def _describe_folder(folder: Folder) -> dict[str, Any]:
    newest = find_checkpoint(folder)
    described = {"checkpoint": dump(newest.record), **_describe_manifest(newest.manifest)}
    if folder.exists(MANIFEST_FILE):
        return described
    owner = read_owner(folder)
    return {
        "owner": None if owner is None else dump(owner),
        "trainerStarts": len(marker_numbers(folder)),
        **described,
    }


def _describe_manifest(manifest: Manifest) -> dict[str, Any]:
    groups: dict[str, int] = {}
    for variable in manifest.variables.values():
        groups[variable.group] = groups.get(variable.group, 0) + 1
    about = dump(manifest)
    for bulky in ("variables", "step", "savedAt"):
        about.pop(bulky, None)
    return {**about, "variables": groups}
