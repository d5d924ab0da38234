"""The results: rows of the table, and percentiles."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table."""

    what: str
    measured: str
    goal: str = ""


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of `values` (0 to 1) do not exceed.

    Raises:
        ValueError: `values` is empty.
    """
    if not values:
        raise ValueError("a percentile needs at least one value; received none")
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def milliseconds(values: Sequence[float]) -> str:
    """Return p50, p95 and p99 in ms of `values`, which are seconds."""
    return " / ".join(f"{percentile(values, share) * 1e3:.0f}" for share in (0.5, 0.95, 0.99))
