"""Floods of connections at full size, against the operator as a process with the chart's limits."""

import json
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

import pytest
import urllib3

from detection_trainer.contract.runtime import REPORT_PATH
from sandbox.attacks import flooding
from sandbox.processes.operator_process import OperatorProcess
from tests.support.cluster.operator_fixtures import Scene, report, saved

logger = logging.getLogger(__name__)

CHART = {"REPORT_CONNECTIONS": "256", "REPORT_CONNECTIONS_PER_PEER": "16", "WORKERS": "4"}
MEMORY_LIMIT_MB = 512 * 1.048576
MOST_MB, MOST_DESCRIPTORS = 256 * 0.75, 256 + 100
"""What a flood may add: 0.75 MB for each connection, as the documentation states."""
PROBE_TIMEOUT_S = 5.0
"""Of the chart's probes."""
FLOODERS = 4
PROBES = 10


@dataclass
class Watched:
    """What was seen of the operator during a flood."""

    operator: OperatorProcess
    memory_mb: float = 0.0
    descriptors: int = 0
    slowest_s: float = 0.0
    probes: int = 0
    failed: list[str] = field(default_factory=list)

    def look(self) -> None:
        """Probe the operator as the kubelet does, and read what it takes."""
        began = time.monotonic()
        url = f"http://127.0.0.1:{self.operator.health_port}/healthz"
        try:
            answer = urllib3.request("GET", url, retries=False, timeout=PROBE_TIMEOUT_S)
        except urllib3.exceptions.HTTPError as error:
            self.failed.append(str(error))
        else:
            self.failed += [] if answer.status == 200 else [answer.data.decode()]
        self.probes += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.memory_mb = max(self.memory_mb, self.operator.memory_mb())
        self.descriptors = max(self.descriptors, self.operator.descriptors())

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look all the time."""
        ended = Event()

        def watch() -> None:
            while not ended.wait(0.02):
                self.look()

        thread = Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


@dataclass(frozen=True)
class Flood:
    """Connections of one kind from several network addresses."""

    kind: str
    connections: int
    addresses: int
    rounds: int = 1

    @contextmanager
    def held(self, port: int) -> Iterator[int]:
        """Hold the connections to `port` open; give how many were opened."""
        with ExitStack() as stack:
            flooders = [self._start(port, number) for number in range(FLOODERS)]
            for flooder in flooders:
                # Leaving its block closes its input, at which it ends.
                stack.enter_context(flooder)
            yield sum(int(flooder.stdout.readline()) for flooder in flooders if flooder.stdout)

    def _start(self, port: int, number: int) -> "subprocess.Popen[str]":
        """Start one of the processes among which the flood is divided."""
        more = self.connections % FLOODERS if number == 0 else 0
        count, addresses = self.connections // FLOODERS + more, self.addresses // FLOODERS
        first = number * addresses
        numbers = map(str, (port, count, addresses, first, self.rounds))
        command = [sys.executable, flooding.__file__, self.kind, *numbers]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


@pytest.fixture
def operator(scene: Scene, kubeconfig: Path | None, tmp_path: Path) -> Iterator[OperatorProcess]:
    """Run the operator as a process, with the chart's limits of connections."""
    if kubeconfig is None:
        pytest.skip("the operator is a process of this machine, beside the local cluster")
    settings = {"NAMESPACES": scene.namespace, **CHART}
    with OperatorProcess(kubeconfig, tmp_path / "operator.log", settings) as running:
        yield running


@dataclass(frozen=True)
class Trainer:
    """The pod of a training that has begun."""

    scene: Scene
    operator: OperatorProcess
    token: str

    def report(self, step: int) -> None:
        """Send one report; it is acknowledged and written."""
        body = json.dumps(report(step, step, **saved(step)))
        url = self.operator.url + REPORT_PATH.format(namespace=self.scene.namespace, name="trees")
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = urllib3.request("POST", url, body=body, headers=headers, retries=False, timeout=10)
        assert answer.status == 200, answer.data
        self.scene.wait(lambda status: status["step"] == step, f"step {step} is reported")


@pytest.fixture
def trainer(scene: Scene, operator: OperatorProcess) -> Trainer:
    """Bring a training to its first step."""
    scene.apply(preflight="Never")
    pod = scene.wait_attempt(1)
    scene.run_pod(pod)
    begun = Trainer(scene, operator, scene.token(pod))
    begun.report(10)
    return begun


@pytest.mark.parametrize(
    "flood",
    [
        pytest.param(Flood("half_open", 20_000, 40), id="20,000 half-open requests of 40 pods"),
        pytest.param(
            Flood("large_headers", 243, 240, rounds=12),
            id="12 rounds of 243 times 960 KB of headers, of 240 pods",
        ),
    ],
)
def test_a_flood_at_full_size_is_bounded_and_keeps_no_trainer_out(
    operator: OperatorProcess, trainer: Trainer, flood: Flood
) -> None:
    seen, began = Watched(operator), time.monotonic()
    seen.look()
    memory_mb, descriptors = seen.memory_mb, seen.descriptors
    with seen.watching(), flood.held(operator.port) as opened:
        took_s = time.monotonic() - began
        trainer.report(20)
    logger.info(
        "%d of %d opened in %.1f s; memory %.0f -> %.0f MB, descriptors %d -> %d, "
        "%d probes, the slowest %.3f s; %.0f connections refused",
        opened, flood.connections * flood.rounds, took_s, memory_mb, seen.memory_mb, descriptors,
        seen.descriptors, seen.probes, seen.slowest_s,
        operator.metric("detection_operator_connections_refused"),
    )  # fmt: skip
    assert opened > flood.connections * flood.rounds * 0.95
    assert seen.failed == []
    assert seen.probes > PROBES
    assert seen.memory_mb - memory_mb < MOST_MB
    assert seen.memory_mb < MEMORY_LIMIT_MB
    assert seen.descriptors - descriptors < MOST_DESCRIPTORS
    assert operator.is_running()
