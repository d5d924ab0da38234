"""Decides which checkpoints to keep: a pure policy, applied after each commit.

The newest is never deleted, whatever the policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from detection_trainer.contract.saving import Checkpoints


@dataclass(frozen=True, slots=True)
class Scored:
    """A valid checkpoint, and its mAP if it was evaluated."""

    step: int
    score: float | None = None


def best_first(checkpoints: Sequence[Scored]) -> list[Scored]:
    """Return the evaluated checkpoints, highest mAP first; of equal ones the later first."""
    evaluated = [(c.score, c.step, c) for c in checkpoints if c.score is not None]
    return [c for _, _, c in sorted(evaluated, key=lambda item: item[:2], reverse=True)]


def choose_deletions(checkpoints: Sequence[Scored], policy: Checkpoints) -> list[int]:
    """Return the steps to delete, oldest first.

    It keeps the union of the newest `keepLast`, the best `keepBest` by mAP, and every step that
    is a multiple of `keepEverySteps`.
    """
    newest_first = sorted((c.step for c in checkpoints), reverse=True)
    kept = set(newest_first[: max(policy.keep_last, 1)])
    kept |= {c.step for c in best_first(checkpoints)[: policy.keep_best]}
    if policy.keep_every_steps is not None:
        kept |= {s for s in newest_first if s > 0 and s % policy.keep_every_steps == 0}
    return [step for step in reversed(newest_first) if step not in kept]
