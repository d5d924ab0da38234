"""The shell commands of a page, run as they are printed.

The language of a code block decides: a `sh` block consists of commands, a `console` block has
commands after `$ ` and their output, and other blocks have no commands.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = "+++ "


def commands(page: str, after: str = "", before: str = "") -> list[str]:
    """Return the commands of the page, in order, between the headings `after` and `before`."""
    text = (ROOT / page).read_text()
    start = text.index(f"\n{after}\n") if after else 0
    end = text.index(f"\n{before}\n", start) if before else len(text)
    return [
        command
        for language, block in _FENCE.findall(text[start:end])
        for command in _commands_of(language, block)
    ]


def _commands_of(language: str, block: str) -> Iterator[str]:
    joined = block.replace("\\\n", " ")
    for line in joined.splitlines():
        if language == "console" and line.startswith("$ "):
            yield line.removeprefix("$ ")
        elif language == "sh" and line.strip():
            yield line


@dataclass
class Shell:
    """A folder like a checkout, with programs in place of those that are not run as they are."""

    folder: Path
    replaced: Mapping[str, str] = field(default_factory=dict)
    """What is replaced in each command: what only the reader of the page knows."""
    before: Mapping[str, str] = field(default_factory=dict)
    """What a person waits for before a command that begins so: commands of the test."""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Link what the pages name; examples are copied, so that a test may shorten them."""
        (self.folder / "examples").mkdir(parents=True)
        (self.folder / "charts").symlink_to(ROOT / "charts")
        for example in (ROOT / "examples").glob("*.yaml"):
            (self.folder / "examples" / example.name).write_text(example.read_text())

    def shorten(self, **numbers: int) -> None:
        """Replace numbers of the examples: `steps_300=8` makes `steps: 300` a `steps: 8`."""
        for example in (self.folder / "examples").glob("*.yaml"):
            text = example.read_text()
            for name, number in numbers.items():
                key, _, old = name.rpartition("_")
                text = re.sub(rf"\b{key}: {old}\b", f"{key}: {number}", text)
            example.write_text(text)

    def replace(self, old: str, new: str) -> None:
        """Replace a text in the examples."""
        for example in (self.folder / "examples").glob("*.yaml"):
            example.write_text(example.read_text().replace(old, new))

    def program(self, name: str, *script: str) -> None:
        """Put a program of this name before that of the system."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/bash\n" + "\n".join(script) + "\n")
        path.chmod(0o755)

    def run(self, given: list[str], timeout_s: float) -> str:
        """Run the commands in one shell; return what they print, after `+++ ` and each command.

        Raises:
            AssertionError: one failed, or the time is up; its output is quoted.
        """
        script = ["set -euo pipefail"]
        for command in given:
            script += [line for start, line in self.before.items() if command.startswith(start)]
            script += [f"printf '\\n%s\\n' {_quoted(_MARK + command)}", self._own(command)]
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout_s,
        )
        assert done.returncode == 0, f"exit code {done.returncode} after:\n{done.stdout[-6000:]}"
        return done.stdout

    def _own(self, command: str) -> str:
        for old, new in self.replaced.items():
            command = command.replace(old, new)
        return command


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def outputs(printed: str) -> dict[str, str]:
    """Return what each command printed, by the command; of a repeated one the last."""
    parts = printed.split(f"\n{_MARK}")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}
