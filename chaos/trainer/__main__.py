"""`make chaos-trainer`: kills a training at random moments, on a disk and on S3, and compares."""

import argparse
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.trainer.kills import (
    ONE_THREAD,
    Kill,
    Place,
    differences,
    draw,
    kill_often,
    steps_for,
)
from detection_trainer.run.process import prepare_process
from sandbox.processes.s3_server import s3_server
from sandbox.site.object_store import write_keys


@contextmanager
def place_on(storage: str) -> Iterator[Place]:
    """Yield a place whose runs are on `storage`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if storage == "disk":
            yield Place(root, f"file://{root}")
            return
        with s3_server(root / "buckets") as port:
            keys = write_keys(root / "keys", f"http://127.0.0.1:{port}")
            yield Place(root, "s3://runs", {"s3://": keys})


def line_of(number: int, kill: Kill) -> str:
    """Return the cost of a kill, for output as soon as it is known."""
    attempt, victims = kill.attempt, "+".join(map(str, kill.moment.victims))
    return (
        f"{number:3} worker {victims:3} {kill.moment!s:24} reached {attempt.reached:4}, resumed "
        f"{kill.resumed:4}, lost {kill.lost}; all ended in {attempt.ended_s:.1f} s"
    )


def table_of(kills: list[Kill]) -> Table:
    """Return the costs of the kills, by phase."""
    table = Table("KILLED WHILE", "KILLS", "STEPS LOST", "MOST", box=None)
    for phase in sorted({kill.moment.phase for kill in kills}):
        lost = [kill.lost for kill in kills if kill.moment.phase == phase]
        table.add_row(phase, str(len(lost)), str(sum(lost)), str(max(lost)))
    return table


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="chaos-trainer", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--storage", choices=["disk", "s3"], default="disk")
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--warm", action="store_true", help="fork what is to be killed: TensorFlow is imported once"
    )
    return parser.parse_args()


def main() -> int:
    """Kill, compare and print; return 1 if a run's end differs or a stop lost a step."""
    options = parse_arguments()
    os.environ |= ONE_THREAD
    prepare_process()
    console, stop = Console(), signal.Signals[f"SIG{options.signal}"]
    who = f"{options.workers} worker{'s' * (options.workers > 1)}"
    console.print(
        f"seed {options.seed}: {options.kills} SIG{options.signal}, {options.storage}, {who}"
    )
    choice = random.Random(options.seed)  # noqa: S311 - moments, no secrets
    moments = [draw(choice, stop, options.workers) for _ in range(options.kills)]
    with place_on(options.storage) as bare:
        place, kills = replace(bare, workers=options.workers, warm=options.warm), []
        for kill in kill_often(place, moments, stop):
            kills.append(kill)
            console.print(line_of(len(kills), kill), soft_wrap=True)
        console.print(table_of(kills))
        differing = differences(place, steps_for(moments))
        digest = place.newest("control").manifest.digest
    lost = [kill.lost for kill in kills]
    console.print(f"{len(kills)} kills; steps lost: {sum(lost)}, most {max(lost)}")
    console.print("; ".join(differing) or f"the end equals the control's: {digest}")
    return int(bool(differing) or (stop is signal.SIGTERM and any(lost)))


if __name__ == "__main__":
    sys.exit(main())
