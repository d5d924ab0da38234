"""`detection-trainer inspect FILE|URI`: describes a training, a run, a checkpoint or a dataset."""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any

from detection_trainer.checkpoints.format import MANIFEST_FILE, Checkpoint, find_checkpoint
from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.checkpoints.ownership import marker_numbers, read_owner
from detection_trainer.commands.dataset_arguments import add_records, read_records
from detection_trainer.commands.locations import open_place
from detection_trainer.commands.pipeline_file import load_training
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.spec import config_digest
from detection_trainer.contract.training import Training
from detection_trainer.data.dataset import DatasetSummary
from detection_trainer.errors import NotFoundError
from detection_trainer.options import parse_credentials
from detection_trainer.storage import Folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the file or URI to inspect."""
    text = (
        "a DetectionTraining in YAML or JSON, a checkpoint, a run's folder, or TFRecords: a file "
        "*.tfrecord, or a pattern with * in its last segment"
    )
    parser.add_argument("place", metavar="FILE|URI", help=text)
    parser.add_argument(
        "--json", action="store_true", help="print a dataset as JSON, not as a table"
    )
    add_records(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print it as JSON, or a dataset as a table; returns 52 for a dataset with bad records."""
    if _is_dataset(arguments):
        return _inspect_dataset(arguments)
    if Path(arguments.place).is_file():
        credentials = parse_credentials(arguments.credentials)
        described = _describe_training(load_training(Path(arguments.place), credentials))
    else:
        described = _describe_folder(open_place(arguments.place, arguments.credentials))
    sys.stdout.write(json.dumps(described, indent=2, default=str) + "\n")
    return ExitCode.COMPLETED


def _is_dataset(arguments: argparse.Namespace) -> bool:
    name = arguments.place.rpartition("/")[2]
    has_classes = arguments.label_map is not None or arguments.classes is not None
    return has_classes or "*" in name or name.lower().endswith(".tfrecord")


def _inspect_dataset(arguments: argparse.Namespace) -> int:
    summary = read_records(arguments.place, arguments).summary
    if arguments.json:
        sys.stdout.write(json.dumps(dump(summary), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in dataset_lines(summary))
    return ExitCode.DATA_INVALID if summary.bad_record_count else ExitCode.COMPLETED


def dataset_lines(summary: DatasetSummary) -> Iterator[str]:
    """Yield the lines that describe a dataset to people."""
    sizes = ", ".join(f"{count} {size}" for size, count in summary.boxes_per_size.items())
    sides = zip(summary.image_width, summary.image_height, strict=True)
    rows = {
        "files": f"{summary.files}, {summary.size_bytes / 1e6:.1f} MB",
        "images": f"{summary.images}, {summary.images_without_boxes} without boxes",
        "width x height": " to ".join(f"{width}x{height}" for width, height in sides),
        "boxes": f"{summary.boxes}: {sizes}",
        "crowd, difficult": f"{summary.crowd_boxes}, {summary.difficult_boxes}",
        "turned by EXIF": _turned(summary),
        **{f"class {name}": str(count) for name, count in summary.boxes_per_class.items()},
        "bad records": str(summary.bad_record_count),
        "digest": summary.digest,
    }
    width = max(map(len, rows)) + 2
    yield from (f"{name:<{width}}{value}" for name, value in rows.items())
    yield from (f"  {problem}" for problem in summary.bad_records)
    hidden = summary.bad_record_count - len(summary.bad_records)
    if hidden:
        yield f"  and {hidden} more"


def _turned(summary: DatasetSummary) -> str:
    if not summary.turned_images:
        return "0"
    return (
        f"{summary.turned_images}: viewers rotate these images, training reads the stored pixels: "
        "if the boxes fit the rotated images, convert the dataset again"
    )


def _describe_training(training: Training) -> dict[str, Any]:
    return {
        "identity": dump(training.identity),
        "configDigest": config_digest(training.spec),
        "leftAside": training.set_aside,
        "spec": dump(training.spec),
    }


def _describe_folder(folder: Folder) -> dict[str, Any]:
    newest = _find_checkpoint(folder)
    described = {"checkpoint": dump(newest.record), **_describe_manifest(newest.manifest)}
    if folder.exists(MANIFEST_FILE):
        return described
    owner = read_owner(folder)
    return {
        "owner": None if owner is None else dump(owner),
        "trainerStarts": len(marker_numbers(folder)),
        **described,
    }


def _find_checkpoint(folder: Folder) -> Checkpoint:
    try:
        return find_checkpoint(folder)
    except NotFoundError as error:
        names = [entry.path for entry in folder.list(recursive=False)]
        records = next((name for name in names if ".tfrecord" in name or ".record" in name), None)
        if records is None:
            raise
        pattern = re.sub(r"-\d+-of-\d+.*$", "-*", records)
        pattern = pattern if pattern != records else f"*{PurePath(records).suffix}"
        raise NotFoundError(
            f"{folder.uri} is a folder of TFRecords, such as {records}: name the files, "
            f"`detection-trainer inspect '{folder.uri_of(pattern)}'`"
        ) from error


def _describe_manifest(manifest: Manifest) -> dict[str, Any]:
    groups: dict[str, int] = {}
    for variable in manifest.variables.values():
        groups[variable.group] = groups.get(variable.group, 0) + 1
    about = dump(manifest)
    for bulky in ("variables", "step", "savedAt"):
        about.pop(bulky, None)
    return {**about, "variables": groups}
