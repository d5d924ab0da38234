"""Figures of several rounds: the median and the range."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One quantity, measured once per round."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        """Return the figure of the values of all rounds, in order; at least one.

        Raises:
            ValueError: `values` is empty.
        """
        if not values:
            raise ValueError("a figure needs the value of at least one round; received none")
        return cls(tuple(values))

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    def over(self, other: "Figure") -> "Figure":
        """Return the ratio round by round, so that what slows a whole round cancels out."""
        pairs = zip(self.values, other.values, strict=True)
        return Figure.of([mine / theirs for mine, theirs in pairs])

    def text(self, form: str = ".2f", unit: str = "") -> str:
        """Return `median unit (smallest … largest)`."""
        middle = f"{self.median:{form}}{unit}"
        if len(self.values) == 1:
            return middle
        return f"{middle} ({min(self.values):{form}} … {max(self.values):{form}})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
