"""A port for Prometheus: the newest report in its text format (version 0.0.4), at any path."""

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from detection_trainer.contract.report import Progress, Report

PREFIX = "detection_trainer_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HELP = {
    "step": "Steps trained",
    "target_steps": "Target number of steps",
    "checkpoint_step": "Step of the newest committed checkpoint",
    "loss": "Loss at the last progress line",
    "learning_rate": "Learning rate of the last step",
    "steps_per_second": "Steps per second since the previous progress line",
    "data_wait_fraction": "Fraction of that time spent waiting for data",
    "checkpoint_seconds": "Time that the newest checkpoint took to commit",
    "memory_bytes": "Largest resident memory of the process so far",
}
METRIC_HELP = "COCO metrics of the last evaluation, by name"


class MetricsPort:
    """Serves the newest report while the process lives."""

    def __init__(self, port: int, report: Callable[[], Report]) -> None:
        """Listen on `port` of all addresses; 0 uses any free port.

        Raises:
            OSError: the port is in use, or the process may not use it.
        """
        self._server = _server(port, report)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def render(report: Report) -> str:
    """Return `report` in Prometheus' text format, without unknown values."""
    return "".join(f"{line}\n" for line in _lines(report))


def _lines(report: Report) -> Iterator[str]:
    newest = report.checkpoints[0].step if report.checkpoints else None
    values: dict[str, float | None] = {
        "step": report.step,
        "target_steps": report.target_steps,
        "checkpoint_step": newest,
        **{name: getattr(report.progress, name) for name in Progress.model_fields},
    }
    for name, value in values.items():
        if value is not None and name in HELP:
            yield from (f"# HELP {PREFIX}{name} {HELP[name]}", f"# TYPE {PREFIX}{name} gauge")
            yield f"{PREFIX}{name} {value!r}"
    if report.metrics:
        yield from (f"# HELP {PREFIX}metric {METRIC_HELP}", f"# TYPE {PREFIX}metric gauge")
        for name, value in report.metrics.items():
            yield f'{PREFIX}metric{{name="{_escaped(name)}"}} {value!r}'


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _server(port: int, report: Callable[[], Report]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0

        def do_GET(self) -> None:
            body = render(report()).encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: standard output belongs to the console."""

    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    listening = socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    server = ThreadingHTTPServer(("", port), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket, server.server_address = listening, listening.getsockname()
    server.daemon_threads = True
    return server
