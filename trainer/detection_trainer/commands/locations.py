"""Shared by commands: locations as people type them, and options with environment variables."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from detection_trainer.checkpoints.format import Checkpoint, checkpoint_name, find_checkpoint
from detection_trainer.commands.pipeline_file import load_training
from detection_trainer.contract import runtime
from detection_trainer.options import Options, environment_value, parse_credentials
from detection_trainer.storage import Folder, open_folder


def add_credentials(parser: argparse.ArgumentParser) -> None:
    """Add the option for URI prefix -> directory of keys."""
    parser.add_argument(
        "--credentials",
        default=environment_value(runtime.CREDENTIALS) or "{}",
        metavar="JSON",
        help="JSON object of URI prefix -> directory with one file per key; default: the usual "
        "environment variables of each storage",
    )


def add_variables(
    parser: argparse.ArgumentParser,
    options: Mapping[str, tuple[str, str]],
    *,
    for_people: frozenset[str] = frozenset(),
) -> None:
    """Add options whose defaults are variables of `contract.runtime`.

    Args:
        parser: receives the options.
        options: option -> name of the variable, and help.
        for_people: the options that `--help` lists; only the operator sets the others.
    """
    for option, (variable, text) in options.items():
        shown = f"{text} (${variable})" if option in for_people else argparse.SUPPRESS
        parser.add_argument(option, default=environment_value(variable), help=shown)


def place_uri(text: str) -> str:
    """Return `text` if it is a URI, else the file:// URI of that path."""
    return text.rstrip("/") if "://" in text else Path(text).absolute().as_uri()


def open_place(text: str, credentials: str) -> Folder:
    """Return the folder that `text`, a URI or a path, names."""
    return open_folder(place_uri(text), parse_credentials(credentials))


def choose_checkpoint(place: str, credentials: str, step: int | None = None) -> Checkpoint:
    """Return the checkpoint that `place` names.

    Args:
        place: a DetectionTraining file, a checkpoint, or a run's folder.
        credentials: JSON of URI prefix -> directory of keys.
        step: the step of the run's checkpoint; None: the newest.

    Raises:
        NotFoundError: there is no such checkpoint.
    """
    if Path(place).is_file():
        training = load_training(Path(place), parse_credentials(credentials))
        place = Options().checkpoint_folder(training.spec)
    folder = open_place(place, credentials)
    return find_checkpoint(folder if step is None else folder.child(checkpoint_name(step)))
