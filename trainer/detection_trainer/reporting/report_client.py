"""Posts reports to the operator from a thread of its own; training never waits for it.

Only the newest report is kept: each is a whole snapshot. The last one is sent until it is
acknowledged or its time is over.
"""

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from detection_trainer.contract.base import dump
from detection_trainer.contract.report import Report

REQUEST_TIMEOUT_S = 5.0
FIRST_BACKOFF_S, MAX_BACKOFF_S = 0.5, 30.0
_REFUSED_FOR_GOOD = frozenset({400, 404, 405, 409, 410, 413, 415, 422})
"""Answers that sending the same report again cannot change."""

# The operator lies in the cluster: a proxy that the user set for storage is not for it.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NotAcknowledgedError(Exception):
    """The operator did not take a report; `final` says that it never will."""

    def __init__(self, message: str, *, final: bool, retry_after_s: float | None = None) -> None:
        """Keep whether trying again is in vain, and else how long the operator asks to wait."""
        super().__init__(message)
        self.final = final
        self.retry_after_s = retry_after_s


def post_report(url: str, token_file: Path | None, report: Report, timeout_s: float) -> None:
    """Post one report; returns once it is acknowledged (2xx).

    The token is read anew each time since the kubelet rotates it.

    Raises:
        NotAcknowledgedError: any other answer, or none.
    """
    headers = {"Content-Type": "application/json"}
    try:
        if token_file is not None:
            headers["Authorization"] = f"Bearer {token_file.read_text().strip()}"
        data = json.dumps(dump(report), allow_nan=False).encode()
        request = urllib.request.Request(url, data=data, headers=headers, method="POST")  # noqa: S310 - http(s) checked by the command line
        with _OPENER.open(request, timeout=timeout_s) as response:
            response.read()
    except urllib.error.HTTPError as error:
        detail = error.read(300).decode(errors="replace").strip()
        msg = f"{url} answered {error.code}: {detail or error.reason}"
        raise NotAcknowledgedError(
            msg,
            final=error.code in _REFUSED_FOR_GOOD,
            retry_after_s=_retry_after_s(error.headers.get("Retry-After")),
        ) from error
    except OSError as error:
        raise NotAcknowledgedError(f"{url}: {error}", final=False) from error


def _retry_after_s(text: str | None) -> float | None:
    """Return the seconds of a Retry-After header; None without one, or where it is a date."""
    return float(text) if text is not None and text.isdecimal() else None


class ReportClient:
    """A thread that posts the newest report, backing off while nobody answers."""

    def __init__(
        self,
        url: str,
        token_file: Path | None = None,
        on_change: Callable[[str | None], None] = lambda _problem: None,
    ) -> None:
        """Start the thread.

        Args:
            url: where reports go.
            token_file: holds the bearer token.
            on_change: told the problem when the operator stops answering, None when it does again.
        """
        self._url, self._token_file, self._on_change = url, token_file, on_change
        self._changed = threading.Condition()
        self._newest: Report | None = None
        self._closed = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="reports", daemon=True)
        self._thread.start()

    def offer(self, report: Report) -> None:
        """Post `report` soon, unless a newer one comes first."""
        with self._changed:
            self._newest = report
            self._changed.notify_all()

    def send_final(self, report: Report, timeout_s: float) -> bool:
        """Post `report` until it is acknowledged; returns whether it was, within `timeout_s`."""
        with self._changed:
            self._closed, self._newest = True, None
            self._changed.notify_all()
        deadline, backoff_s = time.monotonic() + timeout_s, FIRST_BACKOFF_S
        while True:
            left_s = max(deadline - time.monotonic(), 0.1)
            try:
                post_report(self._url, self._token_file, report, min(REQUEST_TIMEOUT_S, left_s))
            except NotAcknowledgedError as error:
                self._tell(str(error))
                pause_s = error.retry_after_s or backoff_s
                if error.final or time.monotonic() + pause_s >= deadline:
                    return False
                time.sleep(pause_s)
                backoff_s *= 2
            else:
                return True

    def _run(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while (report := self._take()) is not None:
            try:
                post_report(self._url, self._token_file, report, REQUEST_TIMEOUT_S)
            except NotAcknowledgedError as error:
                self._tell(str(error))
                self._keep(report, again=not error.final)
                self._pause(min(error.retry_after_s or backoff_s, MAX_BACKOFF_S))
                backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            else:
                self._tell(None)
                backoff_s = FIRST_BACKOFF_S

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
            self._changed.wait_for(lambda: self._closed, timeout=seconds)

    def _tell(self, problem: str | None) -> None:
        if (problem is not None) != self._failing:
            self._failing = problem is not None
            self._on_change(problem)
