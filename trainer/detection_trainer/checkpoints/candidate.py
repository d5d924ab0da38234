"""A checkpoint that an attempt may resume from: what the store finds and `start` chooses among."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A committed checkpoint of the run's own folder, and what is wrong with it."""

    step: int
    problem: str | None = None
