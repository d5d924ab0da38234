"""`python -m supply_chain COMMAND`: what a release needs besides its images."""

import argparse
import sys
from pathlib import Path

from supply_chain import bill, release, workflows
from supply_chain.errors import SupplyChainError

ACCELERATORS = ("cpu", "cuda")


def main() -> int:
    """Run one of the commands; return the exit code."""
    options = _parser().parse_args()
    try:
        code: int = options.run(options)
    except SupplyChainError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m supply_chain", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    sbom = commands.add_parser("sbom", help="write SBOMs and licences of both images to build/sbom")
    sbom.set_defaults(run=_sbom)
    audit = commands.add_parser(
        "audit", help="look up known vulnerabilities of the locked packages"
    )
    audit.set_defaults(run=lambda options: bill.audit(options.accelerator))
    for command in (sbom, audit):
        command.add_argument("--accelerator", nargs="+", choices=ACCELERATORS, default=["cpu"])
    lint = commands.add_parser("lint-workflows", help="check .github/workflows with actionlint")
    lint.set_defaults(run=lambda _: workflows.lint())
    notes = commands.add_parser(
        "release-notes", help="check that a tag may be released; print notes"
    )
    notes.add_argument("tag", help="v and the version, such as v0.2.0")
    notes.set_defaults(run=_notes)
    pin = commands.add_parser("pin-chart", help="copy the chart with the images that were built")
    pin.add_argument("operator", help="repository@sha256:…")
    pin.add_argument("trainer", help="repository@sha256:…")
    pin.add_argument("output", type=Path, help="folder to make")
    pin.set_defaults(run=_pin)
    return parser


def _sbom(options: argparse.Namespace) -> int:
    bill.make_bills(options.accelerator)
    sys.stdout.write(f"wrote {bill.OUTPUT}\n")
    return 0


def _notes(options: argparse.Namespace) -> int:
    sys.stdout.write(release.read_notes(options.tag))
    return 0


def _pin(options: argparse.Namespace) -> int:
    release.pin_chart(options.operator, options.trainer, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
