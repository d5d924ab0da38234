"""The operator as a process on this machine, outside the cluster."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import urllib3

from sandbox.processes.addresses import free_port

ROOT = Path(__file__).parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
READY_TIMEOUT_S = 120.0
END_TIMEOUT_S = 90.0


class OperatorEndedError(AssertionError):
    """The operator ended, or was not ready in time; the message has the end of its log."""


@dataclass(slots=True)
class OperatorProcess:
    """Runs one process after another, with the same settings, ports and log."""

    kubeconfig: Path
    log: Path
    settings: dict[str, str]
    port: int = field(default_factory=free_port)
    health_port: int = field(default_factory=free_port)
    metrics_port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    """Environment variables of the process that are not settings."""
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start the process, and wait until it is ready."""
        self.start()
        self.wait_ready()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the process if it still runs."""
        self.kill()

    @property
    def url(self) -> str:
        """The address for reports."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process; do not wait until it is ready."""
        settings = {
            "TRAINER_IMAGE": "detection-trainer:none",
            "REPORT_URL": self.url,
            "LISTEN_HOST": "127.0.0.1",
            "REPORTS_PORT": str(self.port),
            "HEALTH_PORT": str(self.health_port),
            "METRICS_PORT": str(self.metrics_port),
            # All simulated trainers are one process on this machine.
            "REPORT_CONNECTIONS": "4096",
            "REPORT_CONNECTIONS_PER_PEER": "0",
            "METRICS_AUTHENTICATION": "false",
            **self.settings,
        }
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "KUBECONFIG": str(self.kubeconfig),
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'trainer'}",
            **self.environment,
            **{f"DETECTION_OPERATOR_{key}": value for key, value in settings.items()},
        }
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "detection_operator"]
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)  # noqa: S603 - fixed command

    def wait_ready(self) -> None:
        """Wait until the operator watches.

        Raises:
            OperatorEndedError: it was not ready within READY_TIMEOUT_S.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self.is_ready():
            if not self.is_running() or time.monotonic() > deadline:
                end = self.log.read_text(errors="replace")[-2000:]
                msg = f"the operator is not ready; the end of its log: {end}"
                raise OperatorEndedError(msg)
            time.sleep(0.02)

    def is_ready(self) -> bool:
        """Return whether `/readyz` answers that it is ready."""
        try:
            url = f"http://127.0.0.1:{self.health_port}/readyz"
            answer = urllib3.request("GET", url, retries=False, timeout=2)
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200  # noqa: PLR2004 - HTTP's own word for it

    def is_running(self) -> bool:
        """Return whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill the process, as a power failure does."""
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        """Terminate the process as Kubernetes does, and wait for its end."""
        self._end(signal.SIGTERM)

    def cpu_s(self) -> float:
        """Return the processor time that it has used, in seconds."""
        fields = self._proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self) -> float:
        """Return its resident memory in MB."""
        lines = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        return int(lines["VmRSS"].split()[0]) * 1024 / 1e6

    def peak_memory_mb(self) -> float:
        """Return the most memory that it has had resident, in MB."""
        lines = dict(line.split(":", 1) for line in self._proc("status").splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 / 1e6

    def descriptors(self) -> int:
        """Return how many file descriptors it has open."""
        if self.process is None:
            return 0
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def metric(self, line: str) -> float:
        """Return the sum of the metric's lines that begin with `line`; scrape nothing else."""
        asked = {"name[]": line.partition("{")[0]}
        url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        answer = urllib3.request("GET", url, fields=asked, retries=False, timeout=60)
        found = [
            text.rpartition(" ")[2]
            for text in answer.data.decode().splitlines()
            if text.startswith(line)
        ]
        return sum(map(float, found))

    def leads(self) -> bool:
        """Return whether it is the replica that plans."""
        return self.metric("detection_operator_leader") == 1

    def _proc(self, name: str) -> str:
        if self.process is None:
            msg = "the operator was not started"
            raise OperatorEndedError(msg)
        return Path(f"/proc/{self.process.pid}/{name}").read_text()

    def send(self, how: signal.Signals) -> None:
        """Send a signal to the process, if it runs."""
        if self.process is not None:
            self.process.send_signal(how)

    def wait_end(self) -> None:
        """Wait until it has ended."""
        if self.process is not None:
            self.process.wait(END_TIMEOUT_S)

    def _end(self, how: signal.Signals) -> None:
        self.send(how)
        self.wait_end()
