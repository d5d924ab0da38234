"""Steps per second of the whole trainer beside `fit` and KerasHub; waits, cost and memory."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.rounds import Figure, table
from benchmarks.trainer.bench import Bench, alternate
from benchmarks.trainer.documents import BATCH_SIZE, MOMENTUM, RESNET50, Document
from benchmarks.trainer.shapes import SIDE
from benchmarks.trainer.side import Side, Stretch

WARM_UP = 5
STRETCH, HUB_STRETCH, RESNET50_STRETCH = 60, 12, 8
"""Steps of one turn: five to fifteen seconds each."""
EVERY_STEPS = 60
"""One save in each turn of the trainer."""
RESNET50_ROWS = ("the trainer", "Keras `fit`", "KerasHub's RetinaNet")
TINY_ROWS = (
    "the trainer",
    "the trainer, no reports",
    "the trainer, `deterministic: true`",
    *RESNET50_ROWS[1:],
)


def measure(bench: Bench) -> str:
    """Measure the small model and its variants, then a ResNet50 that both sides build alike."""
    return f"{_tiny(bench)}\n\n{_resnet50(bench)}"


def _tiny(bench: Bench) -> str:
    with ExitStack() as stack:
        url = stack.enter_context(_operator())
        reports, silence = ("--report-url", url), ("--report-period", "1e9")
        deterministic = bench.training("deterministic", EVERY_STEPS, deterministic=True)
        sides = [
            bench.side("trainer", bench.training("trainer", EVERY_STEPS), *reports),
            bench.side("trainer", bench.training("unreported", EVERY_STEPS), *silence),
            bench.side("trainer", deterministic, *reports),
            bench.side("fit", bench.training("fit")),
            bench.side("keras_hub", bench.training("keras-hub")),
        ]
        for side in sides:
            stack.enter_context(closing(side))
            side.go(WARM_UP)
        steps = [STRETCH, STRETCH, STRETCH, STRETCH, HUB_STRETCH]
        found = alternate(sides, steps, bench.rounds)
        text = _table(f"small model, {SIDE} px, batch {BATCH_SIZE}", TINY_ROWS, sides, found)
    waits = Figure.of([stretch.waited_s / stretch.seconds for stretch in found[0]])
    return f"{text}\n\nThe trainer waits for data for {waits.text('.1%')} of a step's time."


def _resnet50(bench: Bench) -> str:
    spec: Document = {"model": RESNET50, "batchSize": 2, "optimizer": MOMENTUM}
    modules = ("trainer", "fit", "keras_hub")
    with ExitStack() as stack:
        sides = [bench.side(m, bench.training(f"resnet50-{m}", **spec)) for m in modules]
        for side in sides:
            stack.enter_context(closing(side))
            side.go(2)
        found = alternate(sides, [RESNET50_STRETCH] * len(sides), bench.rounds)
        return _table("ResNet50, 256 px, batch 2", RESNET50_ROWS, sides, found)


def _table(
    title: str, names: Sequence[str], sides: Sequence[Side], found: Sequence[Sequence[Stretch]]
) -> str:
    speeds = [Figure.of([s.steps_per_second for s in stretches]) for stretches in found]
    costs = [Figure.of([s.cpu_ms_a_step for s in stretches]) for stretches in found]
    rows = [
        [name, speed.text(), speeds[0].over(speed).text(), cost.text(".0f"), memory]
        for name, speed, cost, memory in zip(
            names, speeds, costs, [f"{side.peak_memory_mib:.0f}" for side in sides], strict=True
        )
    ]
    head = [title, "steps/s", "the trainer is N times as fast", "CPU ms a step", "peak MiB"]
    return table(head, rows)


class _Answer(BaseHTTPRequestHandler):
    """Accepts every report, as the operator does."""

    def do_POST(self) -> None:
        """Acknowledge."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@contextmanager
def _operator() -> Iterator[str]:
    """Yield the address of a server that acknowledges reports."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/report"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
