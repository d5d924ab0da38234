"""Steps a second of the whole trainer beside `fit` and KerasHub; what waits, costs and is held."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.rounds import Figure, table
from benchmarks.trainer.bench import Bench, alternate
from benchmarks.trainer.documents import MOMENTUM, RESNET50, Document
from benchmarks.trainer.side import Side

WARM_UP = 5
STRETCH, HUB_STRETCH = 60, 12
"""Steps of one turn: a few seconds each."""
EVERY_STEPS = 60
"""So each turn of the trainer holds one save."""


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
        speeds = [Figure.of(v) for v in alternate(sides, steps, bench.rounds)]
        waits = Figure.of([_waiting(sides[0]) for _ in range(bench.rounds)])
        return _tiny_text(speeds, waits, [side.peak_memory_mib for side in sides])


def _waiting(side: Side) -> float:
    stretch = side.go(STRETCH)
    return stretch.waited_s / stretch.seconds


def _tiny_text(speeds: list[Figure], waits: Figure, memory: list[float]) -> str:
    trainer, unreported, deterministic, fit, hub = speeds
    others = (
        ("Keras `fit`", fit, memory[3]),
        ("KerasHub's RetinaNet", hub, memory[4]),
        ("the trainer, `deterministic: true`", deterministic, memory[2]),
        ("the trainer, no reports", unreported, memory[1]),
    )
    rows = [["the trainer", trainer.text(), "1", f"{memory[0]:.0f}"]]
    rows += [[n, f.text(), trainer.over(f).text(), f"{m:.0f}"] for n, f, m in others]
    head = ["small model, 128 px, batch 8", "steps/s", "the trainer is so many times", "peak MiB"]
    share = waits.text(".1%")
    return f"{table(head, rows)}\n\nThe trainer waits for data in {share} of a step's time."


def _resnet50(bench: Bench) -> str:
    spec: Document = {"model": RESNET50, "batchSize": 2, "optimizer": MOMENTUM}
    modules = ("trainer", "fit", "keras_hub")
    with ExitStack() as stack:
        sides = [bench.side(m, bench.training(f"resnet50-{m}", **spec)) for m in modules]
        for side in sides:
            stack.enter_context(closing(side))
            side.go(2)
        found = alternate(sides, [4, 4, 4], min(bench.rounds, 5))
        trainer, fit, hub = (Figure.of(values) for values in found)
        memory = [f"{side.peak_memory_mib:.0f}" for side in sides]
    rows = [
        ["the trainer", trainer.text(), "1", memory[0]],
        ["Keras `fit`", fit.text(), trainer.over(fit).text(), memory[1]],
        ["KerasHub's RetinaNet", hub.text(), trainer.over(hub).text(), memory[2]],
    ]
    head = ["ResNet50, 256 px, batch 2", "steps/s", "the trainer is so many times", "peak MiB"]
    return table(head, rows)


class _Answer(BaseHTTPRequestHandler):
    """Takes every report, as the operator does."""

    def do_POST(self) -> None:
        """Acknowledge."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def _operator() -> Iterator[str]:
    """Give the address of a server that acknowledges reports."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/report"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
