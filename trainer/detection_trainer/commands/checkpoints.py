"""`detection-trainer checkpoints ls|show|verify|diff`: inspects checkpoints without TensorFlow."""

import argparse
import json
import sys

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detection_trainer.checkpoints.format import (
    MANIFEST_FILE,
    Checkpoint,
    find_checkpoint,
    list_checkpoints,
)
from detection_trainer.checkpoints.manifest import Manifest
from detection_trainer.commands.locations import add_credentials, open_place
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.errors import DamagedCheckpointError, NotFoundError
from detection_trainer.storage import Folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the four subcommands."""
    commands = parser.add_subparsers(dest="question", required=True, metavar="COMMAND")
    texts = {
        "ls": ("list the checkpoints of a run's folder", 1),
        "show": ("print the manifest of a checkpoint (for a run's folder: of the newest)", 1),
        "verify": ("compare every file with its digest; for a run's folder, of all checkpoints", 1),
        "diff": ("compare two checkpoints and print the differences", 2),
    }
    for name, (text, count) in texts.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("places", nargs=count, metavar="URI", help="a URI, or a path")
        add_credentials(command)
    commands.choices["ls"].add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run one; returns 1 if `verify` finds damage or `diff` a difference."""
    folders = [open_place(place, arguments.credentials) for place in arguments.places]
    match arguments.question:
        case "ls":
            return _list(folders[0], as_json=arguments.json)
        case "show":
            manifest = find_checkpoint(folders[0]).manifest
            sys.stdout.write(json.dumps(dump(manifest), indent=2) + "\n")
            return ExitCode.COMPLETED
        case "verify":
            return _verify(folders[0])
        case _:
            return _diff(*(find_checkpoint(folder) for folder in folders))


def compare_manifests(left: Manifest, right: Manifest) -> list[str]:
    """Return what differs in two checkpoints' manifests, one sentence each; reads no tensors."""
    differences = [
        f"{name}: {a} and {b}"
        for name, a, b in (
            ("step", left.step, right.step),
            ("classes", left.classes, right.classes),
            ("optimizer", left.optimizer, right.optimizer),
            ("config digest", left.config_digest, right.config_digest),
            ("model", left.model.model_dump_json(), right.model.model_dump_json()),
        )
        if a != b
    ]
    for path in sorted(left.variables.keys() | right.variables.keys()):
        a, b = left.variables.get(path), right.variables.get(path)
        if a is None or b is None:
            differences.append(f"{path}: only in the {'second' if a is None else 'first'}")
        elif (a.shape, a.dtype) != (b.shape, b.dtype):
            differences.append(f"{path}: {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    return differences


def _list(folder: Folder, *, as_json: bool) -> int:
    checkpoints, damaged = list_checkpoints(folder)
    if not checkpoints and not damaged:
        raise NotFoundError(f"{folder.uri} has no checkpoint: check the address")
    if as_json:
        document = [dump(c.record) for c in checkpoints]
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return ExitCode.COMPLETED
    table = Table("STEP", "SAVED", "MAP", "CLASSES", "SIZE", "DIGEST", box=None)
    for checkpoint in checkpoints:
        table.add_row(*_row(checkpoint))
    for candidate in damaged:
        table.add_row(str(candidate.step), "damaged", "", "", "", Text(candidate.problem or ""))
    Console().print(table)
    return ExitCode.COMPLETED


def _row(checkpoint: Checkpoint) -> list[str]:
    manifest = checkpoint.manifest
    size = sum(record.size for record in manifest.files.values())
    score = "" if checkpoint.score is None else f"{checkpoint.score:.4f}"
    return [
        str(manifest.step),
        f"{manifest.saved_at:%Y-%m-%d %H:%M:%SZ}",
        score,
        str(len(manifest.classes)),
        f"{size / 1e6:.1f} MB",
        manifest.digest[:19],
    ]


def _verify(folder: Folder) -> int:
    problems: dict[int, str | None] = {}
    if folder.exists(MANIFEST_FILE):
        checkpoints = [find_checkpoint(folder)]
    else:
        checkpoints, damaged = list_checkpoints(folder)
        problems = {candidate.step: candidate.problem for candidate in damaged}
    if not checkpoints and not problems:
        raise NotFoundError(f"{folder.uri} has no checkpoint: check the address")
    for checkpoint in checkpoints:
        try:
            checkpoint.verify()
        except DamagedCheckpointError as error:
            problems[checkpoint.step] = str(error)
    for step in sorted({c.step for c in checkpoints} | problems.keys()):
        sys.stdout.write(f"step {step}: {problems.get(step, 'valid')}\n")
    return 1 if problems else ExitCode.COMPLETED


def _diff(left: Checkpoint, right: Checkpoint) -> int:
    differences = compare_manifests(left.manifest, right.manifest)
    for file in sorted(left.manifest.files.keys() & right.manifest.files.keys()):
        differences += _differing_values(left, right, file)
    sys.stdout.writelines(f"{line}\n" for line in differences or ["no difference"])
    return 1 if differences else ExitCode.COMPLETED


def _differing_values(left: Checkpoint, right: Checkpoint, file: str) -> list[str]:
    if left.manifest.files[file].sha256 == right.manifest.files[file].sha256:
        return []
    ours, theirs = left.read_file(file), right.read_file(file)
    differences = []
    for path in sorted(ours.keys() & theirs.keys()):
        a, b = ours[path], theirs[path]
        if a.shape == b.shape and not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            largest = np.abs(a.astype(np.float64) - b.astype(np.float64)).max()
            differences.append(f"{path}: values differ by up to {largest:.3g}")
    return differences
