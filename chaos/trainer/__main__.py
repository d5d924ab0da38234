"""`make chaos-trainer`: kills a training at random moments, on a disk and on S3, and compares."""

import argparse
import random
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.trainer.kills import Kill, Place, differences, kill_often
from sandbox.object_store import keys_for
from tests.support.s3_server import s3_server


@contextmanager
def place_on(storage: str) -> Iterator[Place]:
    """Give a place whose runs lie on `storage`."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if storage == "disk":
            yield Place(root, f"file://{root}")
            return
        keys = root / "keys"
        keys.mkdir()
        with s3_server(root / "buckets") as port:
            for name, value in keys_for(f"http://127.0.0.1:{port}").items():
                (keys / name).write_text(value)
            yield Place(root, "s3://runs", {"s3://": keys})


def table_of(kills: list[Kill]) -> Table:
    """Return the kills, one a line."""
    table = Table("KILL", "PHASE", "AT", "REACHED", "RESUMED", "LOST", box=None)
    for number, kill in enumerate(kills, start=1):
        moment = kill.moment
        when = "before" if moment.before else "after"
        at = {
            "saving": f"{when} write {moment.count}",
            "training": f"step {moment.count} + {moment.delay_s:.3f} s",
            "evaluating": f"evaluation {moment.count} + {moment.delay_s:.3f} s",
        }[moment.phase]
        row = (number, moment.phase, at, kill.reached, kill.resumed, max(kill.lost, 0))
        table.add_row(*map(str, row))
    return table


def main() -> int:
    """Kill, compare and print; 1 where a run's end differs or a stop lost a step."""
    parser = argparse.ArgumentParser(prog="chaos-trainer", description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--storage", choices=["disk", "s3"], default="disk")
    parser.add_argument("--signal", choices=["KILL", "TERM"], default="KILL")
    arguments = parser.parse_args()
    console, stop = Console(), signal.Signals[f"SIG{arguments.signal}"]
    console.print(f"seed {arguments.seed}, {arguments.storage}, SIG{arguments.signal}")
    with place_on(arguments.storage) as place:
        choice = random.Random(arguments.seed)  # noqa: S311 - moments, no secrets
        kills = list(kill_often(place, arguments.kills, choice, stop))
        console.print(table_of(kills))
        differing = differences(place, arguments.kills)
        digest = place.newest("control").manifest.digest
    lost = [max(kill.lost, 0) for kill in kills]
    phases = ", ".join(f"{n} {p}" for p, n in Counter(k.moment.phase for k in kills).items())
    console.print(f"{len(kills)} kills ({phases}); steps lost: {sum(lost)}, most {max(lost)}")
    console.print("; ".join(differing) or f"the end equals the control's: {digest}")
    return int(bool(differing) or (stop is signal.SIGTERM and any(lost)))


if __name__ == "__main__":
    sys.exit(main())
