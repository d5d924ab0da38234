"""The operator as its process runs it, in a thread with its own event loop."""

import asyncio
import gc
import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import urllib3

from detection_operator.program import Operator
from detection_operator.server.ports import Ports
from detection_operator.settings import Settings
from detection_trainer.contract.runtime import REPORT_PATH

Object = dict[str, Any]
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Served:
    """The ports of an operator."""

    reports: int
    health: int = 0
    metrics: int = 0
    plain: int = 0

    @classmethod
    def of(cls, ports: Ports) -> "Served":
        plain = ports.plain.port if ports.plain is not None else 0
        return cls(ports.reports.port, ports.health.port, ports.metrics.port, plain)


@dataclass
class RunningOperator:
    """Started by `with`; ended in good order when left."""

    environment: Mapping[str, str]
    waits: bool = True
    """Whether `with` waits until it is ready."""
    error: BaseException | None = None
    operator: Operator | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _stop: asyncio.Event | None = None
    _ports: list[Served] = field(default_factory=list)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start it, and wait until it watches."""
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)
        self._thread.start()
        if self.waits:
            try:
                self.wait_ready()
            except BaseException:
                self.stop()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """End it as SIGTERM does; raise what it failed with."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self.join()
        if self.error is not None:
            raise self.error

    def wait_error(self) -> BaseException:
        """Wait until it has failed; return what it failed with, once."""
        self.join()
        error, self.error = self.error, None
        assert error is not None, "it ended without an error"
        return error

    def join(self) -> None:
        """Wait until it has ended."""
        assert self._thread is not None
        self._thread.join(STOP_TIMEOUT_S)
        assert not self._thread.is_alive(), "the operator did not end"

    def wait_ready(self) -> None:
        self.wait_until(lambda: self.get("/readyz")[0] == 200, "ready")

    def wait_until(self, condition: Any, what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.error is not None:
                raise self.error
            if condition():
                return
            time.sleep(0.02)
        message = f"the operator was not {what} in {timeout_s} s; readyz: {self.get('/readyz')}"
        raise AssertionError(message)

    def get(self, path: str) -> tuple[int, str]:
        """Ask one of its pages; 0 while it does not listen."""
        try:
            ports = self._ports[-1]
            port = ports.metrics if path.startswith("/metrics") else ports.health
            url = f"http://127.0.0.1:{port}{path}"
            answer = urllib3.request("GET", url, retries=False, timeout=5)
        except (urllib3.exceptions.HTTPError, LookupError):
            return 0, ""
        return answer.status, answer.data.decode()

    def metric(self, line: str) -> float:
        """Return the value of the metric whose line begins with this text, or 0."""
        for found in self.get("/metrics")[1].splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0

    def report(
        self, namespace: str, name: str, token: str, body: Object | bytes
    ) -> tuple[int, Object]:
        """Post a report; return status and answer."""
        path = REPORT_PATH.format(namespace=namespace, name=name)
        certificate = self.operator.base.certificate if self.operator else None
        trusted = certificate.trusted() if certificate else None
        with urllib3.PoolManager(ca_cert_data=trusted) as pool:
            answer = pool.request(
                "POST",
                f"{'https' if trusted else 'http'}://localhost:{self.ports.reports}{path}",
                body=body if isinstance(body, bytes) else json.dumps(body).encode(),
                headers={"Authorization": f"Bearer {token}"},
                retries=False,
                timeout=20,
            )
        found: Object = json.loads(answer.data)
        return answer.status, found

    @property
    def ports(self) -> Served:
        """What it serves now."""
        return self._ports[-1]

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self.error = error
        # What the loop left must not be finalized in the middle of another test.
        gc.collect()

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        settings = Settings.from_environment(self.environment)
        self.operator = await Operator.assemble(settings, self.environment)
        self.operator.on_listening = lambda ports: self._ports.append(Served.of(ports))
        await self.operator.run(self._stop)
