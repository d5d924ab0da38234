"""`detection-trainer export FILE|URI --to URI`: a checkpoint as a model for other programs."""

import argparse
import json
import re
import sys

from detection_trainer.checkpoints.format import MANIFEST_FILE
from detection_trainer.commands.locations import add_credentials, choose_checkpoint, open_place
from detection_trainer.commands.numbers import step
from detection_trainer.contract.base import dump
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.spec import ExportFormat
from detection_trainer.errors import InvalidConfigError
from detection_trainer.exports.export import export_checkpoint
from detection_trainer.run.process import prepare_process
from detection_trainer.storage import Folder

FORMATS: dict[str, ExportFormat] = {"saved-model": "SavedModel", "odapi": "ODAPI"}
_OF_AN_EXPORT = re.compile(
    r"^(assets/|variables/|saved_model\.pb$|fingerprint\.pb$|manifest\.json$"
    r"|ckpt-1\.|checkpoint$|pipeline\.config$|label_map\.pbtxt$)"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the source of weights and where the export goes."""
    text = "a DetectionTraining file, a checkpoint, or a run's folder (its newest)"
    parser.add_argument("place", metavar="FILE|URI", help=text)
    parser.add_argument("--to", required=True, metavar="URI", help="output folder of the export")
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        default="saved-model",
        help="saved-model: for serving; odapi: for restoring with the TensorFlow Object "
        "Detection API. Default: %(default)s",
    )
    parser.add_argument(
        "--step", type=step, help="which checkpoint of the run; default: the newest"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="overwrite an export in the folder"
    )
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Export, and print where it lies as JSON."""
    prepare_process()
    folder = open_place(arguments.to, arguments.credentials)
    _make_room(folder, overwrite=arguments.overwrite)
    checkpoint = choose_checkpoint(arguments.place, arguments.credentials, arguments.step)
    export = export_checkpoint(checkpoint, folder, form=FORMATS[arguments.format])
    sys.stdout.write(json.dumps(dump(export), indent=2) + "\n")
    return ExitCode.COMPLETED


def _make_room(folder: Folder, *, overwrite: bool) -> None:
    present = [entry.path for entry in folder.list()]
    strangers = [path for path in present if not _OF_AN_EXPORT.match(path)]
    if present and (strangers or not overwrite):
        shown = ", ".join((strangers or present)[:3])
        advice = "" if strangers else ", or replace the export with --overwrite"
        msg = f"{folder.uri} already has files ({shown}): choose another folder{advice}"
        raise InvalidConfigError(msg)
    for path in sorted(present, key=lambda path: path != MANIFEST_FILE):
        folder.delete(path)
