"""The parts of the benchmark, each in its own clusters, and the rows that they return."""

import logging
import signal
import statistics
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.operator import bursts, failover, memory, restarts, writes
from benchmarks.operator.bursts import Burst
from benchmarks.operator.figures import Row, milliseconds, percentile
from benchmarks.operator.memory import Taken
from benchmarks.operator.reporting import Reporting, reporting
from benchmarks.operator.steady import Stream, steady
from benchmarks.rounds import Figure
from sandbox.simulation.surroundings import BARE, OPERATED, Surroundings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    trainings: int
    rounds: int
    seconds: float
    """Seconds of each measurement over time; reports: three times as long."""
    lives: int = 20

    @property
    def small(self) -> int:
        """The number of trainings in a burst of a round."""
        return max(self.trainings // 5, 1)

    @property
    def large(self) -> int:
        """How many trainings with large specs run; three times as many are suspended."""
        return max(self.trainings // 20, 1)


class Stage(Protocol):
    """Provides the clusters of a part."""

    def open(self, *, audited: bool = False) -> AbstractAsyncContextManager[Surroundings]:
        """Provide a new cluster, with or without an audit log."""


async def small_bursts(stage: Stage, scale: Scale) -> list[Row]:
    """Measure bursts of a fifth, in turns with the bare client; then restarts beside these."""
    async with stage.open() as here:
        with here.operator:
            mine, bare = await _bursts_in_turn(here, scale)
            first = await _restarts(here, scale)
            logger.info("trainings finish")
            names = _names("r0", scale.small)
            half = len(names) // 2
            undisturbed = await restarts.finish(here, names[:half], kill=False)
            killed = await restarts.finish(here, names[half:], kill=True)
    ratio = Figure.of([b.seconds for b in mine]).over(Figure.of([b.seconds for b in bare]))
    rate = Figure.of([burst.rate for burst in mine])
    count, standing = f"{scale.small:,}", f"{scale.small * scale.rounds:,}"
    return [
        Row(f"Children a second, bursts of {count}", rate.text(".0f")),
        Row(f"Burst of {count} against the bare client", f"{ratio.text('.2f')} times", "1.5 times"),
        Row(
            f"SIGTERM → first new Job of the next process, {standing} standing",
            first.text(".1f", " s"),
            "2 s",
        ),
        Row(f"{half:,} finish → every status right", f"{undisturbed:.1f} s"),
        Row(f"{half:,} finish, SIGKILL at half → every status right", f"{killed:.1f} s"),
        Row("The SIGKILL has cost", f"{killed - undisturbed:.1f} s", "4 s"),
    ]


async def _bursts_in_turn(here: Surroundings, scale: Scale) -> tuple[list[Burst], list[Burst]]:
    mine: list[Burst] = []
    bare: list[Burst] = []
    for number in range(scale.rounds):
        logger.info("bursts of %d, round %d", scale.small, number)
        names = _names(f"r{number}", scale.small)
        mine.append(await bursts.operated(here, names))
        await restarts.settled(here.operator)
        bare.append(await bursts.bare(here, names))
        await restarts.standing(here, BARE, (number + 1) * scale.small)
    return mine, bare


async def _restarts(here: Surroundings, scale: Scale) -> Figure:
    logger.info("the operator starts again, %d times", scale.rounds)
    seconds = []
    for number in range(scale.rounds):
        seconds.append(await restarts.first_job_after_restart(here, f"first-{number}"))
        here.operator.wait_ready()
        await restarts.settled(here.operator)
    return Figure.of(seconds)


async def standing(stage: Stage, scale: Scale) -> list[Row]:
    """Measure one burst of all, the bare client's too, and the steady state beside them."""
    names = _names("all", scale.trainings)
    logger.info("the bare client's %d at once", scale.trainings)
    async with stage.open() as here:
        bare = await bursts.bare(here, names)
    logger.info("the operator's: %.0f s to beat", bare.seconds)
    async with stage.open() as here:
        with here.operator:
            burst = await bursts.operated(here, names)
            rows = _logged(
                [
                    _burst_row("Bare client", bare),
                    _burst_row("Operator", burst),
                    Row(
                        f"The operator's {burst.count:,} against the bare client's",
                        f"{burst.seconds / bare.seconds:.2f} times",
                        "1.5 times",
                    ),
                ]
            )
            rows += _logged(await _at_rest(here, scale))
            rows += _logged(await _steadily(here, scale))
            logger.info("cold start")
            cold = restarts.cold_start(here, scale.trainings)
            what = f"Cold start → all {scale.trainings:,} looked at"
            rows += _logged([Row(what, f"{cold:.1f} s", "20 s")])
            logger.info("%d trainers report", scale.trainings)
            rows += _logged(_report_rows(await reporting(here, names, 3 * scale.seconds)))
    return rows


def _logged(rows: list[Row]) -> list[Row]:
    """Log figures once they are measured: a later measurement may fail."""
    for row in rows:
        logger.info("%s: %s", row.what, row.measured)
    return rows


async def _at_rest(here: Surroundings, scale: Scale) -> list[Row]:
    logger.info("waiting until the control plane has made every pod")
    await restarts.standing(here, OPERATED, scale.trainings)
    await restarts.settled(here.operator)
    memory = here.operator.memory_mb()
    idle = await restarts.idle_share(here, scale.seconds)
    count = f"{scale.trainings:,}"
    return [
        Row(f"Resident memory, {count} standing", f"{memory:.0f} MB", "165 MB"),
        Row("CPU while nothing happens", f"{100 * idle:.1f}% of a core", "2%"),
    ]


async def _steadily(here: Surroundings, scale: Scale) -> list[Row]:
    logger.info("a steady stream, %d rounds", scale.rounds)
    slow = [await steady(here, f"slow{n}", 5, scale.seconds) for n in range(scale.rounds)]
    fast = [await steady(here, f"fast{n}", 20, scale.seconds) for n in range(scale.rounds)]
    await restarts.settled(here.operator)
    return [
        *_stream_rows("5 applies a second", slow, "20 ms"),
        *_stream_rows("20 applies a second", fast, "40 ms"),
    ]


async def lives(stage: Stage, scale: Scale) -> list[Row]:
    """Count the API writes of whole lives."""
    async with stage.open(audited=True) as here:
        with here.operator:
            found = await writes.writes_of_a_life(here, _names("life", scale.lives))
    counts = ", ".join(f"{what} {count:.1f}" for what, count in found.items())
    total = sum(found.values())
    return [Row("API writes a training over its life", f"{total:.1f} ({counts})", "5")]


async def failovers(stage: Stage, scale: Scale) -> list[Row]:
    """Measure how long no replica plans, of two replicas beside a fifth of the trainings."""
    rounds = range(scale.rounds)
    async with stage.open() as here:
        with failover.replicas(here) as pair:
            await bursts.operated(here, _names("stand", scale.small))
            ended = [
                await failover.first_job_without(here, pair, signal.SIGTERM, f"end-{n}")
                for n in rounds
            ]
            killed = [
                await failover.first_job_without(here, pair, signal.SIGKILL, f"kill-{n}")
                for n in rounds
            ]
    what = f"first new Job, two replicas, {scale.small:,} standing"
    return [
        Row(f"SIGTERM to the leader → {what}", Figure.of(ended).text(".1f", " s")),
        Row(f"SIGKILL of the leader → {what}", Figure.of(killed).text(".1f", " s")),
    ]


async def large(stage: Stage, scale: Scale) -> list[Row]:
    """Measure the memory that trainings with large specs take."""
    more = 3 * scale.large
    async with stage.open() as here:
        with here.operator:
            logger.info("%d large trainings", scale.large)
            taken = await memory.running(here, _names("run", scale.large))
            rows = _logged(_memory_rows("run", taken))
            logger.info("%d more that are suspended", more)
            taken = await memory.suspended(here, _names("wait", more), scale.large)
            rows += _logged(_memory_rows("run or are suspended", taken))
            logger.info("cold start")
            taken = await memory.after_restart(here, taken.trainings)
            rows += _logged(_memory_rows("are found by a new process", taken))
    return rows


def _memory_rows(what: str, taken: Taken) -> list[Row]:
    name = f"{taken.trainings:,} trainings of {taken.size / 1e3:.0f} KB {what}"
    return [
        Row(f"{name}: resident memory", f"{taken.resident_mb:.0f} MB"),
        Row(f"{name}: most", f"{taken.peak_mb:.0f} MB", f"{taken.formula_mb:.0f} MB"),
    ]


Part = Callable[[Stage, Scale], Coroutine[Any, Any, list[Row]]]
PARTS: dict[str, Part] = {
    "bursts": small_bursts,
    "standing": standing,
    "lives": lives,
    "failover": failovers,
    "large": large,
}


def _names(prefix: str, count: int) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def _burst_row(who: str, burst: Burst) -> Row:
    text = f"{burst.seconds:.1f} s ({burst.rate:.0f} a second)"
    return Row(f"{who}: {burst.count:,} at once → all Jobs exist", text)


def _stream_rows(what: str, streams: list[Stream], goal: str) -> list[Row]:
    """Return the latencies of all rounds together, and the p99 of each round."""
    job_s = [second for stream in streams for second in stream.job_s]
    create_s = [second for stream in streams for second in stream.create_s]
    slowest = Figure.of([1e3 * percentile(stream.job_s, 0.99) for stream in streams])
    times = statistics.median(job_s) / statistics.median(create_s)
    return [
        Row(f"{what}: apply → Job seen, p50 / p95 / p99", f"{milliseconds(job_s)} ms"),
        Row(f"{what}: p99 by round", slowest.text(".0f", " ms"), goal),
        Row(f"{what}: the API server's own create", f"{milliseconds(create_s)} ms"),
        Row(f"{what}: median as a multiple of that", f"{times:.1f} times"),
    ]


def _report_rows(measured: Reporting) -> list[Row]:
    what = f"{measured.trainers:,} trainers report every 10 s"
    refused = sum(count for status, count in measured.answers.items() if status != 200)  # noqa: PLR2004
    rate = sum(measured.answers.values()) / measured.seconds
    cpu = 100 * measured.operator_cpu_s / measured.seconds
    return [
        Row(f"{what}: answered", f"{rate:.0f} a second, {refused} refused"),
        Row(f"{what}: answer, p50 / p95 / p99", f"{milliseconds(measured.answer_s)} ms"),
        Row(f"{what}: CPU of the operator", f"{cpu:.0f}% of a core"),
        Row(f"{what}: status writes", f"{measured.status_writes / measured.seconds:.1f} a second"),
        Row(f"{what}: age of a status, p50 / p95 / p99", _seconds(measured.age_s)),
        Row(f"{what}: a read of the API, p50 / p95 / p99", f"{milliseconds(measured.probe_s)} ms"),
        Row(f"{what}: resident memory", f"{measured.memory_mb:.0f} MB"),
    ]


def _seconds(values: list[float]) -> str:
    return " / ".join(f"{percentile(values, share):.0f}" for share in (0.5, 0.95, 0.99)) + " s"
