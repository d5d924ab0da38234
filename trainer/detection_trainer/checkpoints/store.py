"""The run's own checkpoints: commits them, keeps their metrics, applies the retention policy.

Called by the saver's thread and, while that is idle, by the loop; both hold `lock`.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from detection_trainer.checkpoints.candidate import Candidate
from detection_trainer.checkpoints.format import (
    Checkpoint,
    Snapshot,
    checkpoint_name,
    delete_checkpoint,
    list_checkpoints,
    uncommitted_steps,
    write_checkpoint,
    write_metrics,
)
from detection_trainer.checkpoints.manifest import FileRecord, Manifest, VariableRecord
from detection_trainer.checkpoints.ownership import Fence
from detection_trainer.checkpoints.retention import Scored, best_first, choose_deletions
from detection_trainer.contract.saving import Checkpoints
from detection_trainer.errors import (
    DamagedCheckpointError,
    NonFiniteLossError,
    NotFoundError,
    StorageUnavailableError,
)
from detection_trainer.storage import Folder

Describe = Callable[[Snapshot, dict[str, FileRecord], dict[str, VariableRecord]], Manifest]


class CheckpointStore:
    """The committed checkpoints in the run's folder, newest first."""

    def __init__(self, folder: Folder, policy: Checkpoints) -> None:
        """Read the manifests of `folder`."""
        self.folder, self._policy = folder, policy
        self._lock = threading.Lock()
        self._checkpoints, self._damaged = list_checkpoints(folder)

    @property
    def checkpoints(self) -> list[Checkpoint]:
        """The committed checkpoints that are not known to be damaged, newest first."""
        with self._lock:
            return list(self._checkpoints)

    @property
    def best(self) -> Checkpoint | None:
        """The evaluated checkpoint with the highest mAP; None if none was evaluated."""
        by_step = {c.step: c for c in self.checkpoints}
        ranked = best_first([Scored(c.step, c.score) for c in by_step.values()])
        return by_step[ranked[0].step] if ranked else None

    def at(self, step: int) -> Checkpoint | None:
        """Return the checkpoint of `step`, or None if it is not committed."""
        return next((c for c in self.checkpoints if c.step == step), None)

    def candidates(self) -> list[Candidate]:
        """Verify checkpoints, newest first, until one is valid; drops the damaged ones.

        Returns:
            All verified checkpoints, newest first; the last one is valid, if any is.
        """
        with self._lock:
            looked_at = list(self._damaged)
            while self._checkpoints:
                newest = self._checkpoints[0]
                try:
                    newest.verify()
                except DamagedCheckpointError as error:
                    looked_at.append(Candidate(step=newest.step, problem=str(error)))
                    self._damaged.append(looked_at[-1])
                    del self._checkpoints[0]
                else:
                    looked_at.append(Candidate(step=newest.step))
                    break
        looked_at.sort(key=lambda candidate: candidate.step, reverse=True)
        return _until_valid(looked_at)

    def sweep(self) -> None:
        """Delete the files of killed saves; call it only after the fence is raised."""
        for step in uncommitted_steps(self.folder):
            _delete(self.folder, step)

    def commit(self, snapshot: Snapshot, describe: Describe, fence: Fence) -> Checkpoint:
        """Write and commit `snapshot`.

        Raises:
            NonFiniteLossError: a weight is not finite; nothing is written.
            SupersededError: a later trainer owns the folder; nothing is committed.
        """
        _require_finite(snapshot)
        # Fail before the upload; `write_checkpoint` checks again before it writes the manifest.
        fence.check()
        with self._lock:
            checkpoint = write_checkpoint(
                self.folder,
                snapshot,
                lambda files, variables: describe(snapshot, files, variables),
                fence.check,
            )
            others = [c for c in self._checkpoints if c.step != snapshot.step]
            self._checkpoints = sorted([checkpoint, *others], key=lambda c: -c.step)
            self._damaged = [c for c in self._damaged if c.step != snapshot.step]
        return checkpoint

    def add_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write the metrics of a committed checkpoint beside it."""
        with self._lock:
            place = self.folder.child(checkpoint_name(step))
            write_metrics(place, step, metrics)
            self._checkpoints = [
                replace(c, metrics=dict(metrics), is_evaluated=True) if c.step == step else c
                for c in self._checkpoints
            ]

    def apply_retention(self) -> None:
        """Delete what the policy does not keep, and damaged checkpoints older than a valid one.

        If a deletion fails, the next commit retries it.
        """
        with self._lock:
            scored = [Scored(c.step, c.score) for c in self._checkpoints]
            newest = self._checkpoints[0].step if self._checkpoints else -1
            doomed = choose_deletions(scored, self._policy)
            # Keep damaged ones that nothing replaces: `choose_start` must see that the run had a
            # checkpoint, or it would begin from zero.
            damaged = [c.step for c in self._damaged if c.step < newest]
            gone = {step for step in [*doomed, *damaged] if _delete(self.folder, step)}
            self._checkpoints = [c for c in self._checkpoints if c.step not in gone]
            self._damaged = [c for c in self._damaged if c.step not in gone]


def _until_valid(newest_first: list[Candidate]) -> list[Candidate]:
    for index, candidate in enumerate(newest_first):
        if candidate.problem is None:
            return newest_first[: index + 1]
    return newest_first


def _delete(folder: Folder, step: int) -> bool:
    try:
        delete_checkpoint(folder, step)
    except NotFoundError:
        return True  # Another process deleted it first.
    except StorageUnavailableError:
        return False
    return True


def _require_finite(snapshot: Snapshot) -> None:
    bad = sorted(
        path
        for path, array in snapshot.weights.items()
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all()
    )
    if bad:
        msg = (
            f"at step {snapshot.step} {len(bad)} variables are not finite ({', '.join(bad[:3])}); "
            "no checkpoint was saved: lower optimizer.learningRate or set "
            "optimizer.gradientClipNorm"
        )
        raise NonFiniteLossError(msg)
