"""What a person or a log collector sees of a run on standard output.

On a terminal a progress bar with what happens above it; elsewhere one JSON object a line, so that
`kubectl logs` can be read by both.
"""

import json
import math
import re
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TextIO

from rich.console import Console as RichTerminal
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from detection_trainer.contract.report import Report


class Console(Protocol):
    """Logs the events of a run; may be called from any thread."""

    def say(self, event: str, message: str, **fields: Any) -> None:
        """Log an event: `event` is for programs, `message` for people."""

    def progress(self, report: Report) -> None:
        """Show how far the run is."""

    def close(self) -> None:
        """Leave the output as it should stay."""


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: TextIO, clock: Callable[[], datetime]) -> None:
        """Write to `stream`."""
        self._stream, self._clock = stream, clock
        self._lock = threading.Lock()

    def say(self, event: str, message: str, **fields: Any) -> None:
        """Write one line."""
        line = {"time": self._clock().isoformat(timespec="milliseconds"), "event": event}
        line |= {"message": message} if message else {}
        line |= {k: v for k, v in fields.items() if not _is_unsayable(v)}
        with self._lock:
            self._stream.write(json.dumps(line, default=str) + "\n")
            self._stream.flush()

    def progress(self, report: Report) -> None:
        """Write the loop's figures as one line."""
        fields = report.progress.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.say("progress", "", step=report.step, targetSteps=report.target_steps, **fields)

    def close(self) -> None:
        """Nothing is left to write."""


class ProgressBar:
    """A bar at the bottom of the terminal."""

    def __init__(self) -> None:
        """Prepare the bar; it shows with the first progress."""
        self._terminal = RichTerminal()
        self._bar = Progress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self._terminal,
        )
        self._task: TaskID | None = None

    def say(self, event: str, message: str, **_fields: Any) -> None:
        """Print the message above the bar."""
        # Text, not markup: a class may be called `[tree]`.
        self._terminal.print(Text.assemble((words_of(event), "bold"), " ", message))

    def progress(self, report: Report) -> None:
        """Move the bar."""
        if self._task is None:
            self._bar.start()
            self._task = self._bar.add_task("", total=report.target_steps, figures="")
        self._bar.update(self._task, completed=report.step, figures=_figures(report))

    def close(self) -> None:
        """Leave the bar where it stands."""
        if self._task is not None:
            self._bar.stop()


def words_of(event: str) -> str:
    """Return an event's name as words.

    >>> words_of("checkpointSkipped")
    'checkpoint skipped'
    """
    return re.sub("[A-Z]", lambda letter: f" {letter[0].lower()}", event)


def open_console(clock: Callable[[], datetime]) -> Console:
    """Return the console that fits standard output."""
    if sys.stdout.isatty():
        return ProgressBar()
    return JsonLines(sys.stdout, clock)


def _figures(report: Report) -> str:
    progress = report.progress
    figures = {
        "loss": (progress.loss, ".4f"),
        "rate": (progress.learning_rate, ".2e"),
        "steps/s": (progress.steps_per_second, ".2f"),
        "mAP": (report.metrics.get("mAP"), ".3f"),
    }
    return "  ".join(f"{name} {v:{form}}" for name, (v, form) in figures.items() if v is not None)


def _is_unsayable(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))
