"""The command line: `detection-trainer COMMAND`, or `python -m detection_trainer COMMAND`.

TensorFlow is imported only by the commands that compute, so that the others answer at once.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detection_trainer.contract.training import InvalidTrainingError
from detection_trainer.errors import TrainerError
from detection_trainer.run.outcome import error_line, exit_code_of


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: the module with its `add_arguments` and `run`, and what it does."""

    module: str
    text: str


COMMANDS = {
    "run": Command("commands.run", "train until the target is reached, or go on training"),
    "preflight": Command("commands.preflight", "check all that can be checked without training"),
    "evaluate": Command("commands.evaluate", "print the COCO metrics of a checkpoint"),
    "predict": Command("commands.predict", "find objects in images and draw them"),
    "export": Command("commands.export", "write a checkpoint as a model for other programs"),
    "checkpoints": Command("commands.checkpoints", "list, show, verify and compare checkpoints"),
    "inspect": Command(
        "commands.inspect", "tell what a training, a run, a checkpoint or a dataset is"
    ),
    "convert": Command("commands.convert", "make TFRecords from Pascal VOC or COCO, and back"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code that `contract.exit_codes` gives to what happened."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = build_parser(words[0] if words else None).parse_args(words)
    command = _load(COMMANDS[arguments.command])
    try:
        return int(command.run(arguments))
    except (TrainerError, InvalidTrainingError) as error:
        code = exit_code_of(error)
        sys.stderr.write(error_line(code.reason, str(error)) + "\n")
        return int(code)
    except BrokenPipeError:
        # The reader (`head`) has seen enough; nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser; only the chosen command's module is imported, for its arguments."""
    parser = argparse.ArgumentParser(
        prog="detection-trainer",
        description="Train object detectors; stop at any time, and go on exactly.",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=command.text, description=command.text)
        if name == chosen:
            _load(command).add_arguments(subparser)
    return parser


def _load(command: Command) -> Any:
    return importlib.import_module(f"detection_trainer.{command.module}")


if __name__ == "__main__":
    sys.exit(main())
