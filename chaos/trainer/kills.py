"""One training killed at many random moments: what each kill cost, and whether the end is the same.

The moments are drawn from a seed: in the middle of a step, of an evaluation, or around a write of a
save. The control is the same training, by the same program, that nothing kills.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from detection_trainer.checkpoint import Checkpoint, find_checkpoint
from detection_trainer.contract import runtime
from detection_trainer.storage import open_folder
from tests.support.datasets import Drawn, write_dataset
from tests.support.trainings import training

SAVED = 40
STEPS_A_KILL = 8
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
"""The bits depend on how many threads add up."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runs lie."""

    root: Path
    uri: str
    """The parent of the runs' folders."""
    credentials: Mapping[str, Path] = field(default_factory=dict)

    def newest(self, run: str) -> Checkpoint:
        """Return a run's newest checkpoint."""
        return find_checkpoint(open_folder(f"{self.uri}/{run}", self.credentials))


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill an attempt."""

    phase: str
    """`training`, `evaluating` or `saving`."""
    count: int
    """At so many steps, evaluations or writes of this attempt."""
    delay_s: float
    """After the line that tells of it."""
    before: bool
    """Before the write, or after it."""


@dataclass(frozen=True, slots=True)
class Kill:
    """What a kill cost."""

    moment: Moment
    reached: int
    """The last step that the trainer told of."""
    resumed: int
    """Where the next attempt went on."""

    @property
    def lost(self) -> int:
        """Steps to be trained again; below 0 where a save was further than the last line."""
        return self.reached - self.resumed


def draw(choice: random.Random, stop: signal.Signals) -> Moment:
    """Draw a moment; a stop by SIGTERM has no place inside a write."""
    phases = ["training", "training", "evaluating", "saving", "saving"]
    phase = choice.choice(phases[:3] if stop is signal.SIGTERM else phases)
    most = {"training": 2 * STEPS_A_KILL, "evaluating": 2, "saving": 9}[phase]
    delay = choice.uniform(0.0, 0.2)
    return Moment(phase, choice.randint(1, most), delay, before=choice.choice([True, False]))


def document(place: Place, run: str, steps: int) -> dict[str, Any]:
    """Return the training: all that a checkpoint must hold is in use."""
    data = place.root / "train.tfrecord"
    if not data.exists():
        write_dataset(data, [Drawn(seed=i, labels=(1 + i % 2,)) for i in range(6)])
    there = {"uri": data.as_uri()}
    return training(
        name=run,
        dataset={"train": there, "validation": there, "classes": ["tree", "shrub"]},
        steps=steps,
        batchSize=2,
        optimizer={"name": "adamw", "learningRate": 0.001, "movingAverageDecay": 0.99},
        augmentation=[{"randomHorizontalFlip": {}}, {"randomScaleCrop": {"minScale": 0.6}}],
        checkpoints={"storage": {"uri": f"{place.uri}/{run}"}, "everySteps": 3, "keepLast": 3},
        evaluation={"everySteps": 10, "sampleImages": 1},
        earlyStopping={"patience": 1000},
    )


@contextmanager
def started(place: Place, run: str, steps: int, *wrapper: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the trainer, one line of progress for each step."""
    file = place.root / f"{run}.json"
    file.write_text(json.dumps(document(place, run, steps)))
    module = wrapper or ("detection_trainer",)
    words = [sys.executable, "-m", *module, "run", str(file), "--report-period", "0"]
    keys = {prefix: str(path) for prefix, path in place.credentials.items()}
    environment = {
        **os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join(sys.path),
        runtime.CREDENTIALS: json.dumps(keys),
    }  # fmt: skip
    log = (place.root / f"{run}.log").open("a")
    with (
        log,
        subprocess.Popen(  # noqa: S603 - this checkout's trainer
            words, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def finish(place: Place, run: str, steps: int) -> int:
    """Let a run come to its end; returns where it went on."""
    with started(place, run, steps) as process:
        lines = list(_lines(process))
        if process.wait():
            raise AssertionError(f"{run} ended with {process.returncode}: {_said(place, run)}")
    return _resumed(lines)


def kill_once(
    place: Place, run: str, steps: int, moment: Moment, stop: signal.Signals
) -> tuple[int, int]:
    """Run an attempt and kill it at `moment`; returns where it went on and what it reached."""
    saving = moment.phase == "saving"
    when = "before" if moment.before else "after"
    wrapper = ("chaos.trainer.dying_trainer", when, "/step-", str(moment.count)) if saving else ()
    event = {"training": "progress", "evaluating": "evaluating"}.get(moment.phase)
    lines, left = [], moment.count
    with started(place, run, steps, *wrapper) as process:
        for line in _lines(process):
            lines.append(line)
            left -= line["event"] == event
            if left == 0 and line["event"] == event:
                time.sleep(moment.delay_s)
                process.send_signal(stop)
        code = process.wait()
    expected = SAVED if stop is signal.SIGTERM else -stop
    if code != expected:
        raise AssertionError(f"an attempt ended with {code}, not {expected}: {_said(place, run)}")
    told = [line["step"] for line in lines if line["event"] == "progress"]
    resumed = _resumed(lines)
    return resumed, max(told, default=resumed)


def kill_often(
    place: Place, kills: int, choice: random.Random, stop: signal.Signals = signal.SIGKILL
) -> Iterator[Kill]:
    """Kill the run `chaos` so often, let it come to its end, and yield what each kill cost."""
    steps = 2 * STEPS_A_KILL * kills
    waiting: tuple[Moment, int] | None = None
    for _ in range(kills):
        moment = draw(choice, stop)
        resumed, reached = kill_once(place, "chaos", steps, moment, stop)
        if waiting is not None:
            yield Kill(*waiting, resumed)
        waiting = (moment, reached)
    resumed = finish(place, "chaos", steps)
    if waiting is not None:
        yield Kill(*waiting, resumed)


def differences(place: Place, kills: int) -> list[str]:
    """Run the control; return how the killed run's end differs from its end, in every variable."""
    finish(place, "control", 2 * STEPS_A_KILL * kills)
    killed, control = place.newest("chaos"), place.newest("control")
    pairs = {
        "step": (killed.step, control.step),
        "files": (killed.manifest.files, control.manifest.files),
        "patience": (killed.manifest.patience, control.manifest.patience),
        "metrics": (killed.metrics, control.metrics),
    }
    return [f"{name}: {a}, not {b}" for name, (a, b) in pairs.items() if a != b]


def _lines(process: "subprocess.Popen[str]") -> Iterator[dict[str, Any]]:
    for line in process.stdout or ():
        if line.endswith("}\n"):
            yield json.loads(line)


def _said(place: Place, run: str) -> str:
    return (place.root / f"{run}.log").read_text()[-1000:]


def _resumed(lines: list[dict[str, Any]]) -> int:
    return next((line["step"] for line in lines if line["event"] == "started"), 0)
