"""Kills one training at many random moments: the cost of each kill, and whether the end is equal.

A seed determines the moments: in the middle of a step, of an evaluation, or around a write of a
save; and of several workers, which of them die. The next attempt starts all workers again, as the
operator does. The control is the same training, by the same program, without kills.
"""

import json
import random
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.trainer.processes import Process, start_cold, start_warm
from detection_trainer.checkpoints.format import Checkpoint, find_checkpoint
from detection_trainer.contract import runtime
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.distributed.tf_config import VARIABLE
from detection_trainer.storage import open_folder
from sandbox.processes.addresses import free_addresses
from sandbox.samples.datasets import Drawn, write_dataset
from sandbox.samples.trainings import training

STEPS_A_KILL = 8
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
"""The bits depend on the number of threads in a sum."""
CHIEF = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where the runs are stored, and the program that trains."""

    root: Path
    uri: str
    """The parent of the runs' folders."""
    credentials: Mapping[str, Path] = field(default_factory=dict)
    workers: int = 1
    warm: bool = False
    """Whether killed attempts are forked from a process that has imported TensorFlow."""

    def newest(self, run: str) -> Checkpoint:
        """Return a run's newest checkpoint."""
        return find_checkpoint(open_folder(f"{self.uri}/{run}", self.credentials))

    def log(self, run: str, worker: int) -> Path:
        """Return the file with a worker's stderr."""
        return self.root / f"{run}.{worker}.log"


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill an attempt, and which workers."""

    phase: str
    """`training`, `evaluating` or `saving`."""
    count: int
    """After this many steps, evaluations or writes of the attempt."""
    delay_s: float = 0.0
    """Seconds after the line that reports it."""
    before: bool = True
    """Before the write, or after it."""
    victims: tuple[int, ...] = (CHIEF,)
    """The workers that die; only the chief saves."""

    def __str__(self) -> str:
        """Return a short description of the moment."""
        when = "before" if self.before else "after"
        return {
            "saving": f"{when} write {self.count}",
            "training": f"step {self.count} + {self.delay_s:.3f} s",
            "evaluating": f"evaluation {self.count} + {self.delay_s:.3f} s",
        }[self.phase]


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt that was killed."""

    resumed: int
    """The step where it resumed."""
    reached: int
    """The last step that it reported."""
    ended_s: float
    """Seconds from the kill until the last worker had ended."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The cost of a kill."""

    moment: Moment
    attempt: Attempt
    resumed: int
    """The step where the next attempt resumed."""

    @property
    def lost(self) -> int:
        """Steps that must be trained again; a save may be newer than the last line."""
        return max(self.attempt.reached - self.resumed, 0)


def draw(choice: random.Random, stop: signal.Signals, workers: int = 1) -> Moment:
    """Return a random moment; a stop by SIGTERM has no moment inside a write."""
    phases = ["training", "training", "evaluating", "saving", "saving"]
    phase = choice.choice(phases[:3] if stop is signal.SIGTERM else phases)
    most = {"training": 2 * STEPS_A_KILL, "evaluating": 2, "saving": 9}[phase]
    count, delay_s = choice.randint(1, most), choice.uniform(0.0, 0.2)
    before = choice.choice([True, False])
    victims: tuple[int, ...] = (CHIEF,)
    if workers > 1 and phase != "saving":
        victims = choice.choice([*((worker,) for worker in range(workers)), tuple(range(workers))])
    return Moment(phase, count, delay_s, before, victims)


def document(place: Place, run: str, steps: int) -> dict[str, Any]:
    """Return the training: it uses everything that a checkpoint must contain."""
    data = place.root / "train.tfrecord"
    if not data.exists():
        write_dataset(data, [Drawn(seed=i, labels=(1 + i % 2,)) for i in range(6)])
    there = {"uri": data.as_uri()}
    return training(
        name=run,
        dataset={"train": there, "validation": there, "classes": ["tree", "shrub"]},
        steps=steps,
        batchSize=2,
        workers=place.workers,
        optimizer={"name": "adamw", "learningRate": 0.001, "movingAverageDecay": 0.99},
        augmentation=[{"randomHorizontalFlip": {}}, {"randomScaleCrop": {"minScale": 0.6}}],
        checkpoints={"storage": {"uri": f"{place.uri}/{run}"}, "everySteps": 3, "keepLast": 3},
        evaluation={"everySteps": 10, "sampleImages": 1},
        earlyStopping={"patience": 1000},
    )


@contextmanager
def started(
    place: Place, run: str, steps: int, dies: Moment | None = None
) -> Iterator[list[Process]]:
    """Start every worker, the chief with one line of progress for each step.

    With `dies` the workers end at that moment: around a write, the chief kills itself.
    """
    file = place.root / f"{run}.json"
    file.write_text(json.dumps(document(place, run, steps)))
    addresses = free_addresses(place.workers)
    start = start_warm if place.warm and dies is not None else start_cold
    with ExitStack() as stack:
        processes = []
        for worker in range(place.workers):
            arguments: tuple[str, ...] = ("run", str(file), "--report-period", "0")
            module = "detection_trainer"
            if dies is not None and dies.phase == "saving" and worker == CHIEF:
                module = "chaos.trainer.dying_trainer"
                when = "before" if dies.before else "after"
                arguments = (when, "/step-", str(dies.count), *arguments)
            environment = _environment(place, addresses, worker)
            process = start(module, arguments, environment, place.log(run, worker))
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield processes


def _environment(place: Place, addresses: list[str], worker: int) -> dict[str, str]:
    keys = {prefix: str(path) for prefix, path in place.credentials.items()}
    found = {**ONE_THREAD, runtime.CREDENTIALS: json.dumps(keys)}
    if place.workers > 1:
        task = {"type": "worker", "index": worker}
        found[VARIABLE] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    return found


def finish(place: Place, run: str, steps: int) -> int:
    """Let a run complete; return the step where it resumed."""
    with started(place, run, steps) as processes:
        lines = list(_lines(processes[CHIEF]))
        codes = [process.wait() for process in processes]
        if any(codes):
            raise AssertionError(f"{run} ended with {codes}: {_last_output(place, run)}")
    return _resumed(lines)


def kill_once(place: Place, run: str, steps: int, moment: Moment, stop: signal.Signals) -> Attempt:
    """Run an attempt and kill it at `moment`.

    Raises:
        AssertionError: it ended in another way than expected.
    """
    event = {"training": "progress", "evaluating": "evaluating"}.get(moment.phase)
    lines, left, killed_at = [], moment.count, time.monotonic()
    with started(place, run, steps, moment) as processes:
        for line in _lines(processes[CHIEF]):
            lines.append(line)
            left -= line["event"] == event
            if left == 0 and line["event"] == event:
                time.sleep(moment.delay_s)
                for victim in moment.victims:
                    processes[victim].send_signal(stop)
                killed_at = time.monotonic()
            elif event is None:
                killed_at = time.monotonic()
        codes = [process.wait() for process in processes]
        ended_s = time.monotonic() - killed_at
    expected = _codes(place, moment, stop)
    if codes != expected:
        msg = f"an attempt ended with {codes}, not {expected}: {_last_output(place, run)}"
        raise AssertionError(msg)
    reported = [line["step"] for line in lines if line["event"] == "progress"]
    resumed = _resumed(lines)
    return Attempt(resumed, max(reported, default=resumed), ended_s)


def _codes(place: Place, moment: Moment, stop: signal.Signals) -> list[int]:
    """Return how each worker must end: surviving workers report that one is lost."""
    if stop is signal.SIGTERM:
        return [ExitCode.SAVED] * place.workers
    return [
        -stop if worker in moment.victims else ExitCode.PEER_LOST for worker in range(place.workers)
    ]


def kill_often(
    place: Place, moments: list[Moment], stop: signal.Signals = signal.SIGKILL
) -> Iterator[Kill]:
    """Kill the run `chaos` at each moment, let it complete; yield the cost of each kill."""
    steps = steps_for(moments)
    waiting: tuple[Moment, Attempt] | None = None
    for moment in moments:
        attempt = kill_once(place, "chaos", steps, moment, stop)
        if waiting is not None:
            yield Kill(*waiting, attempt.resumed)
        waiting = (moment, attempt)
    resumed = finish(place, "chaos", steps)
    if waiting is not None:
        yield Kill(*waiting, resumed)


def steps_for(moments: list[Moment]) -> int:
    """Return a target that a run does not reach before its last kill."""
    return 2 * STEPS_A_KILL * len(moments)


def differences(place: Place, steps: int) -> list[str]:
    """Run the control; return how its end differs from the killed run's, in every variable."""
    finish(place, "control", steps)
    killed, control = place.newest("chaos"), place.newest("control")
    pairs = {
        "step": (killed.step, control.step),
        "files": (killed.manifest.files, control.manifest.files),
        "patience": (killed.manifest.patience, control.manifest.patience),
        "metrics": (killed.metrics, control.metrics),
    }
    return [f"{name}: {a}, not {b}" for name, (a, b) in pairs.items() if a != b]


def _lines(process: Process) -> Iterator[dict[str, Any]]:
    for line in process.stdout or ():
        if line.endswith("}\n"):
            yield json.loads(line)


def _last_output(place: Place, run: str) -> str:
    logs = [place.log(run, worker) for worker in range(place.workers)]
    return "\n".join(log.read_text()[-1000:] for log in logs if log.exists())


def _resumed(lines: list[dict[str, Any]]) -> int:
    return next((line["step"] for line in lines if line["event"] == "started"), 0)
