"""Reports the state of the attempt as complete snapshots, to the operator and the console.

A checkpoint is reported as saved only after its commit. The loop's and the saver's thread may both
call it.
"""

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from detection_trainer.checkpoints.format import Checkpoint, reported_metrics
from detection_trainer.checkpoints.store import CheckpointStore
from detection_trainer.contract.report import (
    MAX_CHECKPOINTS,
    MAX_EXPORTS,
    ExportRecord,
    Outcome,
    Progress,
    Report,
    SkippedCheckpoint,
)
from detection_trainer.reporting.console import Console
from detection_trainer.reporting.report_client import ReportClient

FINAL_TIMEOUT_S = 10.0
"""How long the end of an attempt waits for the operator's acknowledgement."""


class Watcher(Protocol):
    """Receives what the loop measures, after the operator and the console."""

    def progress(self, report: Report) -> None:
        """Record the loop's figures."""

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record all metrics of an evaluated step."""


class Reporter:
    """Keeps the newest snapshot of the attempt and sends it."""

    def __init__(self, console: Console, clock: Callable[[], datetime]) -> None:
        """Start with an empty snapshot and without an operator.

        Args:
            console: the output for people and log collectors.
            clock: returns the time with a time zone.
        """
        self.console, self.clock = console, clock
        self._client: ReportClient | None = None
        self._watchers: list[Watcher] = []
        self._lock = threading.RLock()
        self._report = Report(attempt=1, sequence=0, time=clock(), step=0, target_steps=0)

    def connect(self, client: ReportClient) -> None:
        """Also send all later snapshots to the operator."""
        self._client = client

    def watch(self, watcher: Watcher) -> None:
        """Also send all later measurements of the loop to `watcher`."""
        self._watchers.append(watcher)

    @property
    def report(self) -> Report:
        """The newest snapshot."""
        return self._report

    def update(self, **fields: Any) -> Report:
        """Change fields of the snapshot, named as in `Report`, and send it."""
        with self._lock:
            report = self._next(**fields)
            if self._client is not None:
                self._client.offer(report)
        return report

    def progress(self, step: int, **figures: float | None) -> None:
        """Report the loop's figures; those that are not finite are left out."""
        finite = {k: v for k, v in figures.items() if v is not None and math.isfinite(v)}
        with self._lock:
            known = self._report.progress.model_dump(by_alias=False, exclude_none=True)
            # A loss that is no longer finite must not keep its last finite value.
            kept = {k: v for k, v in known.items() if k not in figures}
            report = self.update(step=step, progress=Progress(**kept, **finite))
        self.console.progress(report)
        for watcher in self._watchers:
            watcher.progress(report)

    def checkpoints(self, store: CheckpointStore, **fields: Any) -> None:
        """Report the checkpoints in the folder."""
        stored = store.checkpoints
        best = store.best
        self.update(
            checkpoints=[c.record for c in stored[:MAX_CHECKPOINTS]],
            checkpoint_count=len(stored),
            best=None if best is None else best.record,
            **fields,
        )

    def saved(self, checkpoint: Checkpoint, seconds: float) -> None:
        """Report that a checkpoint is committed, and the seconds that it took."""
        with self._lock:
            known = self._report.progress
            self.update(progress=known.model_copy(update={"checkpoint_seconds": seconds}))
        message = f"committed the checkpoint of step {checkpoint.step}"
        digest = checkpoint.manifest.digest
        self.console.say(
            "saved", message, step=checkpoint.step, digest=digest, seconds=round(seconds, 3)
        )

    def evaluated(self, step: int, metrics: Mapping[str, float], seconds: float) -> None:
        """Report the metrics of the checkpoint of `step`, which are committed beside it."""
        reported = reported_metrics(metrics)
        self.update(metrics=reported)
        overall = {name: value for name, value in reported.items() if "/" not in name}
        message = f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in overall.items())
        self.console.say("evaluated", message, step=step, seconds=seconds, metrics=reported)
        for watcher in self._watchers:
            watcher.evaluated(step, metrics)

    def exported(self, export: ExportRecord, exports: Sequence[ExportRecord]) -> None:
        """Report that `export` is committed, and all committed exports, newest first."""
        self.update(exports=list(exports[:MAX_EXPORTS]))
        message = f"wrote the {export.format} of step {export.step} to {export.uri}"
        self.console.say("exported", message, step=export.step, digest=export.digest)

    def skipped(self, skipped: Sequence[SkippedCheckpoint]) -> None:
        """Report the damaged checkpoints that were skipped."""
        self.update(skipped=list(skipped[:MAX_CHECKPOINTS]))
        for checkpoint in skipped:
            message = (
                f"skipped the damaged checkpoint of step {checkpoint.step}: {checkpoint.problem}"
            )
            self.console.say("checkpointSkipped", message, step=checkpoint.step)

    def finish(self, outcome: Outcome) -> bool:
        """Report the outcome; returns whether the operator acknowledged it in time."""
        with self._lock:
            report = self._next(outcome=outcome)
        self.console.close()
        self.console.say(
            "ended", outcome.message, reason=outcome.reason, exitCode=int(outcome.exit_code)
        )
        return self._client is None or self._client.send_final(report, FINAL_TIMEOUT_S)

    def _next(self, **fields: Any) -> Report:
        fields |= {"sequence": self._report.sequence + 1, "time": self.clock()}
        known = {name: getattr(self._report, name) for name in type(self._report).model_fields}
        self._report = Report(**{**known, **fields})
        return self._report
