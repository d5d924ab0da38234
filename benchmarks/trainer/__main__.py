"""`python -m benchmarks.trainer`: measure, print the tables, write them into docs/benchmarks.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from benchmarks.machine import describe
from benchmarks.page import PAGE, write_part
from benchmarks.trainer import accuracy, restart, saving, speed, storage
from benchmarks.trainer.bench import Bench
from benchmarks.trainer.keras_hub_environment import keras_hub_python
from benchmarks.trainer.shapes import write_shapes

QUESTIONS: dict[str, Callable[[Bench], str]] = {
    "speed": speed.measure,
    "accuracy": accuracy.measure,
    "saving": saving.measure,
    "restart": restart.measure,
    "storage": storage.measure,
}


def main(arguments: Sequence[str]) -> int:
    """Measure the questions on the command line; return 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trainer", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--only", choices=QUESTIONS, nargs="+", default=list(QUESTIONS))
    parser.add_argument("--dry-run", action="store_true", help="leave the page as it is")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch), options.rounds, cache(keras_hub_python))
        bench.data.mkdir()
        write_shapes(bench.data)
        conditions = describe()
        for name in options.only:
            began = time.monotonic()
            text = f"{conditions}\n\n{QUESTIONS[name](bench)}"
            sys.stdout.write(f"\n## {name}, in {time.monotonic() - began:.0f} s\n\n{text}\n")
            sys.stdout.flush()
            if not options.dry_run:
                write_part(PAGE, f"bench-trainer: {name}", text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
