"""A checkpoint from which an attempt may resume: the store finds it, `start` chooses one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A committed checkpoint in the run's own folder, and its defect if it has one."""

    step: int
    problem: str | None = None
