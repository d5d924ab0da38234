"""Checks the workflows with actionlint, a Go program that is built once per machine."""

import subprocess
from pathlib import Path

from local_cluster.binaries import Binary, ensure_binary

ROOT = Path(__file__).parents[1]
ACTIONLINT = Binary(
    "actionlint",
    "github.com/rhysd/actionlint/cmd/actionlint",
    "half a minute",
    Path(__file__).parent / "actionlint",
)


def lint(*paths: Path) -> int:
    """Check these workflows, or all of the repository; return actionlint's exit code.

    The files are named one by one: actionlint finds them itself only in a git repository. Scripts
    are not checked by shellcheck, whether or not this machine has it.
    """
    program = ensure_binary(ACTIONLINT)
    found = paths or sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
    command = [str(program), "-shellcheck=", "-pyflakes=", *map(str, found)]
    return subprocess.run(command, check=False, cwd=ROOT).returncode  # noqa: S603 - a fixed program
