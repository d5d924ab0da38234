"""The command line: `detection-trainer COMMAND`, or `python -m detection_trainer COMMAND`.

TensorFlow is imported only by the commands that compute, so that the others start fast.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.training import InvalidTrainingError
from detection_trainer.errors import TrainerError
from detection_trainer.run.outcome import error_line, exit_code_of


class MissingPackageError(Exception):
    """A package that the command needs is not installed."""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: the module with its `add_arguments` and `run`, and what it does."""

    module: str
    text: str
    examples: tuple[str, ...]


COMMANDS = {
    "run": Command(
        "commands.run",
        "train until the target is reached; resumes from the newest checkpoint",
        ("trees.yaml", "--pipeline-config pipeline.config --model-dir s3://runs/model_dir"),
    ),
    "preflight": Command(
        "commands.preflight",
        "check everything that can be checked without training",
        ("trees.yaml", "trees.yaml -o json"),
    ),
    "evaluate": Command(
        "commands.evaluate", "print the COCO metrics of a checkpoint", ("trees.yaml",)
    ),
    "predict": Command(
        "commands.predict",
        "detect objects in images and draw them",
        ("file:///runs/trees photo.jpg --out found/", "trees.yaml 'photos/*.jpg' --min-score 0.5"),
    ),
    "export": Command(
        "commands.export",
        "write a checkpoint as a model for other programs",
        ("trees.yaml --to file:///models/trees", "trees.yaml --to s3://models/m --format odapi"),
    ),
    "checkpoints": Command(
        "commands.checkpoints",
        "list, show, verify and compare checkpoints",
        ("ls s3://runs/trees", "verify s3://runs/trees/step-00000300"),
    ),
    "inspect": Command(
        "commands.inspect",
        "show a training, a run, a checkpoint or a dataset",
        ("trees.yaml", "'s3://data/trees/train-*.tfrecord'"),
    ),
    "sample-data": Command(
        "commands.sample_data",
        "write a small real dataset for a first training",
        ("trees s3://data/trees", "trees-health file:///data/trees-health"),
    ),
    "convert": Command(
        "commands.convert",
        "make TFRecords from Pascal VOC or COCO, and back",
        (
            "voc annotations/ s3://data/trees --holdout 0.2",
            "coco instances.json file:///data/trees --images photographs/",
        ),
    ),
}


DISTRIBUTION = "detection-training"
HELP = frozenset({"-h", "--help"})
COMPUTING = frozenset({"run", "evaluate", "predict", "export"})
"""Commands that import TensorFlow."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code, as `contract.exit_codes` defines it."""
    words = list(sys.argv[1:] if argv is None else argv)
    chosen = words[0] if words and words[0] in COMMANDS else None
    try:
        if chosen is not None and not HELP.intersection(words):
            require_packages(chosen)
        arguments = build_parser(chosen).parse_args(words)
        return int(_load(COMMANDS[arguments.command]).run(arguments))
    except MissingPackageError as error:
        sys.stderr.write(f"detection-trainer: {error}\n")
        return int(ExitCode.UNEXPECTED)
    except (TrainerError, InvalidTrainingError) as error:
        code = exit_code_of(error)
        sys.stderr.write(error_line(code.reason, str(error)) + "\n")
        return int(code)
    except BrokenPipeError:
        # The reader (`head`) has closed the pipe. Python must not flush into it at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def require_packages(command: str) -> None:
    """Check that the packages of `command` are installed.

    Raises:
        MissingPackageError: one is missing; the message names the extra that installs it.
    """
    wanted = {"obstore": "trainer", **({"tensorflow": "cpu"} if command in COMPUTING else {})}
    for package, extra in wanted.items():
        if importlib.util.find_spec(package) is None:
            other = "; for a GPU: '.[trainer,cuda]'" if extra == "cpu" else ""
            extras = "trainer,cpu" if extra == "cpu" else extra
            raise MissingPackageError(
                f"`{command}` needs {package}, which is not installed: "
                f"pip install '.[{extras}]' in a checkout{other}"
            )


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Return the parser; it imports only the module of the chosen command, for its arguments."""
    parser = argparse.ArgumentParser(
        prog="detection-trainer",
        description="Train object detectors; stop at any time and resume exactly.",
        epilog="Exit codes: docs/trainer.md#exit-codes.",
    )
    parser.add_argument("--version", action=_Version, help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        shown = "\n".join(f"  detection-trainer {name} {line}" for line in command.examples)
        subparser = subparsers.add_parser(
            name,
            help=command.text,
            description=command.text,
            epilog=f"examples:\n{shown}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            _load(command).add_arguments(subparser)
    return parser


class _Version(argparse.Action):
    """Prints the version; reads it only when the option is given."""

    def __init__(self, **given: Any) -> None:
        """Create an option without a value."""
        super().__init__(**{**given, "nargs": 0})

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        """Print and exit."""
        try:
            number = importlib.metadata.version(DISTRIBUTION)
        except importlib.metadata.PackageNotFoundError:
            number = "of a checkout that is not installed"
        sys.stdout.write(f"{parser.prog} {number}\n")
        parser.exit()


def _load(command: Command) -> Any:
    return importlib.import_module(f"detection_trainer.{command.module}")


if __name__ == "__main__":
    sys.exit(main())
