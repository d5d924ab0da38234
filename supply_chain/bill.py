"""Makes the bills of materials of both images, in CycloneDX, from the locks of the images.

The packages of each lock are installed into a separate environment, as the Dockerfile does, and
cyclonedx-py reads what is installed there: the locks do not contain licences.
"""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandbox.processes.environments import REQUIREMENTS, locked_python
from supply_chain.errors import BillError
from supply_chain.licences import LicenceList, Package, differences, read_packages, render

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "build" / "sbom"
LICENCES = Path(__file__).parent / "licences.toml"
TOOLS = ("sbom-tools", ("sbom.lock",))


def make_bills(accelerators: Sequence[str], output: Path = OUTPUT) -> None:
    """Write `<image>.cdx.json` of each image and `licences.md` of all.

    Raises:
        BillError: a bill lacks a package of its lock, or a licence is not in the list.
    """
    images = {lock.removesuffix(".lock"): lock for lock in _locks(accelerators)}
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    packages = {image: _bill(image, lock, output) for image, lock in images.items()}
    allowed = LicenceList.parse(LICENCES.read_text())
    (output / "licences.md").write_text(render(packages, allowed))
    problems = {
        problem
        for found in packages.values()
        for package in found
        if (problem := allowed.refusal(package)) is not None
    }
    if problems:
        raise BillError("\n".join(sorted(problems)))


def _bill(image: str, lock: str, folder: Path) -> list[Package]:
    python = locked_python(f"sbom-{image}", (lock,))
    path = folder / f"{image}.cdx.json"
    pyproject = ROOT / "pyproject.toml"
    _run_tool("cyclonedx-py", "environment", "--output-reproducible", "--pyproject", str(pyproject),
              "--output-file", str(path), str(python))  # fmt: skip
    bill: dict[str, Any] = json.loads(path.read_text())
    bill["metadata"]["component"]["name"] = f"detection-{image}"
    path.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n")
    packages = read_packages(bill)
    if missing := differences(packages, (REQUIREMENTS / lock).read_text()):
        raise BillError(
            f"the bill of {image} differs from requirements/{lock}:\n" + "\n".join(missing)
        )
    return packages


def _locks(accelerators: Sequence[str]) -> list[str]:
    return ["operator.lock", *(f"trainer-{accelerator}.lock" for accelerator in accelerators)]


def audit(accelerators: Sequence[str]) -> int:
    """Compare the locks with the known vulnerabilities; return pip-audit's exit code.

    `--strict`: a package that could not be looked up fails the audit. Without it pip-audit ends
    with 0 if the vulnerability data cannot be reached at all.
    """
    given = [
        part
        for lock in _locks(accelerators)
        for part in ("--requirement", str(REQUIREMENTS / lock))
    ]
    done = _tool("pip-audit", "--strict", "--no-deps", "--disable-pip", *given)
    return done.returncode


def _run_tool(name: str, *arguments: str) -> None:
    if _tool(name, *arguments).returncode != 0:
        raise BillError(f"{name} failed: see its output above")


def _tool(name: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    program = locked_python(*TOOLS).parent / name
    return subprocess.run([program, *arguments], check=False)  # noqa: S603 - a fixed program
