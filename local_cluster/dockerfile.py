"""Finds the files of a build context that an image depends on, from its Dockerfile: pure.

An image's tag is the hash of those files, so an edit of the documentation makes no new image, and
an edit of the trainer makes no new operator image.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stage:
    """One FROM: its base, what it copies, and from which stages."""

    name: str
    base: str
    instructions: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)


def parse_stages(text: str) -> tuple[list[str], list[Stage]]:
    """Return the instructions before the first FROM, and the stages in order."""
    head: list[str] = []
    stages: list[Stage] = []
    for instruction in join_lines(text):
        word, _, rest = instruction.partition(" ")
        if word.upper() == "FROM":
            base, *name = [part for part in rest.split() if not part.startswith("--")]
            stages.append(Stage(name[-1] if name else str(len(stages)), base))
        if not stages:
            head.append(instruction)
            continue
        stages[-1].instructions.append(instruction)
        if word.upper() in ("COPY", "ADD"):
            _add_copy(stages[-1], rest)
    return head, stages


def join_lines(text: str) -> list[str]:
    """Return one string per instruction, without comments and with continued lines joined."""
    instructions: list[str] = []
    pending = ""
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        pending = f"{pending} {stripped}".strip()
        if pending.endswith("\\"):
            pending = pending[:-1].strip()
            continue
        instructions.append(pending)
        pending = ""
    return [*instructions, pending] if pending else instructions


def _add_copy(stage: Stage, rest: str) -> None:
    parts = shlex.split(rest) if not rest.rstrip().endswith("]") else _split_json(rest)
    flags = [part for part in parts if part.startswith("--")]
    paths = [part for part in parts if not part.startswith("--")]
    origin = next((flag.partition("=")[2] for flag in flags if flag.startswith("--from=")), None)
    if origin is not None:
        stage.stages.append(origin)
        return
    stage.sources.extend(paths[:-1])


def _split_json(rest: str) -> list[str]:
    flags, _, array = rest.partition("[")
    return [*flags.split(), *json.loads("[" + array)]


def choose_inputs(text: str, target: str) -> tuple[list[str], list[str]]:
    """Return the instructions and the context's paths that the stage `target` depends on.

    Raises:
        KeyError: the Dockerfile has no stage `target`; the argument names its stages.
    """
    head, stages = parse_stages(text)
    by_name = {stage.name: stage for stage in stages}
    if target not in by_name:
        raise KeyError(", ".join(by_name))
    wanted, pending = [], [target]
    while pending:
        stage = by_name.get(pending.pop())
        if stage is None or stage in wanted:
            continue
        wanted.append(stage)
        pending += [stage.base, *stage.stages]
    instructions = head + [line for stage in wanted for line in stage.instructions]
    return instructions, sorted({source for stage in wanted for source in stage.sources})
