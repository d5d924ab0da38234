"""The only module that runs other programs and waits for their output."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def capture(
    command: Sequence[str | Path],
    *,
    check: bool = False,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `command`, found by PATH, without input; return its exit code and output.

    Raises:
        subprocess.CalledProcessError: `check` is set and it ended non-zero.
    """
    return subprocess.run(  # noqa: S603 (commands of this package, none from outside)
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=check,
        cwd=cwd,
        env=dict(env) if env is not None else None,
    )
