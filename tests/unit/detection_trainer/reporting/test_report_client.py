import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from detection_trainer.contract.report import Report
from detection_trainer.reporting import report_client
from detection_trainer.reporting.report_client import (
    Endpoint,
    NotAcknowledgedError,
    ReportClient,
)
from tests.support.trainer.runs import NOW


class Operator:
    """An HTTP server with prepared answers, on the loopback interface."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.retry_after: str | None = None
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.arrived = threading.Semaphore(0)
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}/report"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def _handler(operator) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                operator.requests.append((self.headers.get("Authorization", ""), body))
                self.send_response(operator.answers.pop(0) if operator.answers else 204)
                if operator.retry_after is not None:
                    self.send_header("Retry-After", operator.retry_after)
                self.end_headers()
                operator.arrived.release()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        return Handler


@pytest.fixture
def operator() -> Iterator[Operator]:
    server = Operator()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_client, "FIRST_BACKOFF_S", 0.01)


def report(sequence: int) -> Report:
    return Report(attempt=1, sequence=sequence, time=NOW, step=sequence, target_steps=9)


def post(url: str, token_file: Path | None, sent: Report) -> None:
    endpoint = Endpoint(url, token_file)
    connection = endpoint.connect()
    try:
        report_client.post_report(endpoint, connection, sent, 5)
    finally:
        connection.close()


def test_the_token_is_read_again_for_each_request(operator: Operator, tmp_path: Path) -> None:
    token = tmp_path / "token"
    for text in ("old\n", "new\n"):
        token.write_text(text)
        post(operator.url, token, report(1))
    assert [authorization for authorization, _ in operator.requests] == ["Bearer old", "Bearer new"]
    assert Report.model_validate(operator.requests[0][1]) == report(1)


def test_a_proxy_for_storage_is_not_used(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    post(operator.url, None, report(1))
    assert len(operator.requests) == 1


@pytest.mark.parametrize(("status", "final"), [(503, False), (401, False), (409, True)])
def test_only_2xx_acknowledges(operator: Operator, status: int, *, final: bool) -> None:
    operator.answers = [status]
    with pytest.raises(NotAcknowledgedError, match=str(status)) as refused:
        post(operator.url, None, report(1))
    assert refused.value.final == final


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [("7", 7.0), (None, None), ("Thu, 26 Nov 2026 10:00:00 GMT", None), ("-1", None)],
)
def test_how_long_the_operator_asks_to_wait_is_known(
    operator: Operator, retry_after: str | None, wait_s: float | None
) -> None:
    operator.answers, operator.retry_after = [429], retry_after
    with pytest.raises(NotAcknowledgedError) as refused:
        post(operator.url, None, report(1))
    assert (refused.value.final, refused.value.retry_after_s) == (False, wait_s)


def test_a_client_that_reports_too_often_waits_for_retry_after_then_sends_the_newest(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.answers, operator.retry_after = [429], "7"
    pauses: list[float] = []

    def pause(client: ReportClient, seconds: float) -> None:
        pauses.append(seconds)
        if seconds == 7.0:
            client.offer(report(2))

    monkeypatch.setattr(ReportClient, "_pause", pause)
    client = ReportClient(Endpoint(operator.url))
    client.offer(report(1))
    assert operator.arrived.acquire(timeout=10)
    assert operator.arrived.acquire(timeout=10)
    assert client.send_final(report(3), timeout_s=10)
    assert pauses[0] == 7.0
    assert [body["sequence"] for _, body in operator.requests] == [1, 2, 3]


def test_reports_are_no_more_frequent_than_the_operator_accepts(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = threading.Event()
    pauses: list[float] = []

    def pause(_client: ReportClient, seconds: float) -> None:
        pauses.append(seconds)
        paused.set()

    monkeypatch.setattr(ReportClient, "_pause", pause)
    monkeypatch.setattr(report_client, "EVERY_S", 1000.0)
    client = ReportClient(Endpoint(operator.url))
    client.offer(report(1))
    assert paused.wait(timeout=10)
    assert 900 < pauses[0] < 1000
    assert client.send_final(report(2), timeout_s=10), "the final report waits for no pause"


def test_a_final_report_waits_for_retry_after(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.answers, operator.retry_after = [429], "2"
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    assert ReportClient(Endpoint(operator.url)).send_final(report(5), timeout_s=10)
    assert slept == [2.0]


def test_a_missing_token_file_is_no_crash(operator: Operator, tmp_path: Path) -> None:
    with pytest.raises(NotAcknowledgedError):
        post(operator.url, tmp_path / "absent", report(1))
    assert operator.requests == []


def test_the_final_report_is_sent_until_acknowledged(operator: Operator) -> None:
    operator.answers = [503, 500, 200]
    client = ReportClient(Endpoint(operator.url))
    assert client.send_final(report(5), timeout_s=10)
    assert [body["sequence"] for _, body in operator.requests] == [5, 5, 5]


def test_the_final_report_gives_up_in_time_without_an_answer() -> None:
    problems: list[str | None] = []
    client = ReportClient(Endpoint("http://127.0.0.1:9/"), on_change=problems.append)
    assert not client.send_final(report(5), timeout_s=0.1)
    assert len(problems) == 1


def test_the_final_report_is_not_repeated_when_it_is_refused_for_good(operator: Operator) -> None:
    operator.answers = [410, 200]
    assert not ReportClient(Endpoint(operator.url)).send_final(report(5), timeout_s=10)
    assert len(operator.requests) == 1


def test_reports_are_sent_during_training_and_again_without_an_answer(
    operator: Operator,
) -> None:
    operator.answers = [503]
    problems: list[str | None] = []
    client = ReportClient(Endpoint(operator.url), on_change=problems.append)
    client.offer(report(1))
    assert operator.arrived.acquire(timeout=10)
    assert operator.arrived.acquire(timeout=10)
    assert client.send_final(report(2), timeout_s=10)
    assert [body["sequence"] for _, body in operator.requests] == [1, 1, 2]
    assert problems[0] is not None
    assert "503" in problems[0]
