"""Posts reports to the operator from its own thread; training never waits for it.

Only the newest report is kept, because each is a complete snapshot. The last one is sent until it
is acknowledged or its time is over.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from detection_trainer.contract.base import dump
from detection_trainer.contract.report import Report
from detection_trainer.reporting.connection import Connection, UntrustedError

REQUEST_TIMEOUT_S = 5.0
EVERY_S = 1.0
"""Seconds between two reports: the rate that the operator accepts in the long run."""
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
_REFUSED_FOR_GOOD = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
"""Responses for which sending the same report again is useless."""


class NotAcknowledgedError(Exception):
    """The operator did not accept a report; if `final`, a retry is useless."""

    def __init__(self, message: str, *, final: bool, retry_after_s: float | None = None) -> None:
        """Create the error; `retry_after_s` is the wait that the operator requests, if any."""
        super().__init__(message)
        self.final = final
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Endpoint:
    """URL of the reports, and the credentials of both sides."""

    url: str
    token_file: Path | None = None
    """File of the bearer token, read for each report because the kubelet rotates it."""
    ca_file: Path | None = None
    """PEM of the authorities to trust for https; None: the system's."""

    def connect(self) -> Connection:
        """Return a connection, which the first post opens."""
        return Connection(self.url, self.ca_file)


def post_report(
    endpoint: Endpoint, connection: Connection, report: Report, timeout_s: float
) -> None:
    """Post one report; returns once it is acknowledged (2xx).

    Raises:
        NotAcknowledgedError: there was another response, or none.
    """
    headers = {"Content-Type": "application/json"}
    try:
        if endpoint.token_file is not None:
            headers["Authorization"] = f"Bearer {endpoint.token_file.read_text().strip()}"
        data = json.dumps(dump(report), allow_nan=False).encode()
        answer = connection.post(data, headers, timeout_s)
    except (OSError, UntrustedError) as error:
        raise NotAcknowledgedError(f"{endpoint.url}: {error}", final=False) from error
    if answer.status // 100 == 2:  # noqa: PLR2004 - HTTP's class of success
        return
    detail = answer.body[:300].decode(errors="replace").strip()
    raise NotAcknowledgedError(
        f"{endpoint.url} answered {answer.status}: {detail}",
        final=answer.status in _REFUSED_FOR_GOOD,
        retry_after_s=_retry_after_s(answer.retry_after),
    )


def _retry_after_s(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None if it is missing or a date."""
    return float(text) if text is not None and text.isdecimal() else None


class ReportClient:
    """A thread that posts the newest report, with back-off while there is no answer."""

    def __init__(
        self,
        endpoint: Endpoint,
        on_change: Callable[[str | None], None] = lambda _problem: None,
    ) -> None:
        """Start the thread.

        Args:
            endpoint: where reports are posted.
            on_change: receives the problem when the operator stops answering, then None when it
                answers again.
        """
        self._endpoint, self._on_change = endpoint, on_change
        self._changed = threading.Condition()
        self._newest: Report | None = None
        self._closed = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def offer(self, report: Report) -> None:
        """Post `report` soon, unless a newer one replaces it first."""
        with self._changed:
            self._newest = report
            self._changed.notify_all()

    def send_final(self, report: Report, timeout_s: float) -> bool:
        """Post `report` until it is acknowledged within `timeout_s`; returns whether it was."""
        with self._changed:
            self._closed, self._newest = True, None
            self._changed.notify_all()
        # The thread may still use its own connection.
        connection = self._endpoint.connect()
        try:
            return self._send_until_acknowledged(connection, report, timeout_s)
        finally:
            connection.close()

    def _send_until_acknowledged(
        self, connection: Connection, report: Report, timeout_s: float
    ) -> bool:
        deadline, backoff_s = time.monotonic() + timeout_s, FIRST_BACKOFF_S
        while True:
            left_s = min(max(deadline - time.monotonic(), 0.1), REQUEST_TIMEOUT_S)
            try:
                post_report(self._endpoint, connection, report, left_s)
            except NotAcknowledgedError as error:
                self._notify(str(error))
                pause_s = error.retry_after_s or backoff_s
                if error.final or time.monotonic() + pause_s >= deadline:
                    return False
                time.sleep(pause_s)
                backoff_s *= 2
            else:
                return True

    def _run(self) -> None:
        connection = self._endpoint.connect()
        try:
            self._post_newest(connection)
        finally:
            connection.close()

    def _post_newest(self, connection: Connection) -> None:
        backoff_s = FIRST_BACKOFF_S
        while (report := self._take()) is not None:
            started = time.monotonic()
            try:
                post_report(self._endpoint, connection, report, REQUEST_TIMEOUT_S)
            except NotAcknowledgedError as error:
                self._notify(str(error))
                self._keep(report, again=not error.final)
                self._pause(min(error.retry_after_s or backoff_s, MAX_BACKOFF_S))
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            else:
                self._notify(None)
                backoff_s = FIRST_BACKOFF_S
                self._pause(EVERY_S - (time.monotonic() - started))

    def _take(self) -> Report | None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._newest is not None)
            report, self._newest = self._newest, None
            return None if self._closed else report

    def _keep(self, report: Report, *, again: bool) -> None:
        with self._changed:
            if again and self._newest is None and not self._closed:
                self._newest = report

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, timeout=max(seconds, 0.0))

    def _notify(self, problem: str | None) -> None:
        if (problem is not None) != self._failing:
            self._failing = problem is not None
            self._on_change(problem)
