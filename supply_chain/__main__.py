"""`python -m supply_chain sbom|audit|lint-workflows`: what a release needs beside its images."""

import argparse
import sys

from supply_chain import bill, workflows
from supply_chain.errors import BillError

ACCELERATORS = ("cpu", "cuda")


def main() -> int:
    """Run one of the commands; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m supply_chain", description=__doc__)
    parser.add_argument("command", choices=("sbom", "audit", "lint-workflows"))
    parser.add_argument("--accelerator", choices=ACCELERATORS, default="cpu")
    options = parser.parse_args()
    match options.command:
        case "sbom":
            return _sbom(options.accelerator)
        case "audit":
            return bill.audit(["operator.lock", f"trainer-{options.accelerator}.lock"])
        case _:
            return workflows.lint()


def _sbom(accelerator: str) -> int:
    try:
        bill.make_bills(accelerator)
    except BillError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"wrote {bill.OUTPUT}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
