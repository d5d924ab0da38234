"""`detection-trainer sample-data NAME URI`: writes a small real dataset for a first training."""

import argparse
import os
import sys

from detection_trainer.commands.dataset_yaml import dataset_yaml
from detection_trainer.commands.locations import add_credentials, open_place
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.data.samples import SAMPLES, write_sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the name of the dataset, and the URI to write to."""
    known = "; ".join(f"{name}: {sample.text}" for name, sample in SAMPLES.items())
    parser.add_argument("name", choices=tuple(SAMPLES), metavar="NAME", help=known)
    parser.add_argument(
        "output", metavar="URI", help="output folder of the dataset, a URI or a path"
    )
    add_credentials(parser)


def run(arguments: argparse.Namespace) -> int:
    """Write the dataset, and print the YAML to paste into a training."""
    folder = open_place(arguments.output, arguments.credentials)
    summary = write_sample(arguments.name, folder, os.environ)
    sys.stdout.write(dataset_yaml(summary))
    return ExitCode.COMPLETED
