"""The connection of reports: kept open, and only to the operator that the authority vouches for."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from detection_operator.server.certificates import Bundle, renew
from detection_trainer.reporting.connection import Connection, UntrustedError

NOW = datetime.now(UTC)
HEADERS = {"Content-Type": "application/json"}


class Operator(ThreadingHTTPServer):
    """A server on the loopback interface that counts connections."""

    daemon_threads = True

    def __init__(self, tls: Bundle | None, folder: Path) -> None:
        self.connections, self.paths = 0, list[str]()
        self.closes = False
        self.sockets: list[socket.socket] = []
        super().__init__(("127.0.0.1", 0), Handler)
        self.context: ssl.SSLContext | None = None
        if tls is not None:
            chain = folder / "chain.pem"
            chain.write_text(tls.files()["tls.crt"] + tls.files()["tls.key"])
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(chain)

    def finish_request(self, request: object, client_address: object) -> None:
        assert isinstance(request, socket.socket)
        self.connections += 1
        if self.context is not None:
            try:
                request = self.context.wrap_socket(request, server_side=True)
            except OSError:
                request.close()
                return
        self.sockets.append(request)
        with request:
            super().finish_request(request, client_address)

    def hang_up(self) -> None:
        """Close all connections, as a restart does."""
        for one in self.sockets:
            one.shutdown(socket.SHUT_RDWR)
        self.sockets.clear()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Operator

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        self.send_response(200)
        if self.server.closes:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Log nothing."""


Serve = Callable[..., Operator]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[Operator] = []

    def start(tls: Bundle | None = None) -> Operator:
        running.append(Operator(tls, tmp_path))
        threading.Thread(target=running[-1].serve_forever, args=(0.01,), daemon=True).start()
        return running[-1]

    yield start
    for operator in running:
        operator.shutdown()
        operator.server_close()


@contextmanager
def connected(url: str, ca_file: Path | None = None) -> Iterator[Connection]:
    connection = Connection(url, ca_file)
    yield connection
    connection.close()


def authority(folder: Path, *bundles: Bundle) -> Path:
    path = folder / "ca.crt"
    path.write_text("".join(bundle.authority_text() for bundle in bundles))
    return path


def test_reports_share_a_connection(serve: Serve) -> None:
    operator = serve()
    with connected(f"http://127.0.0.1:{operator.server_port}/report?x=1") as connection:
        for _ in range(3):
            answer = connection.post(b"{}", HEADERS, 5)
            assert (answer.status, answer.retry_after, answer.body) == (200, None, b"ok")
    assert operator.connections == 1
    assert operator.paths == ["/report?x=1"] * 3


def test_a_connection_that_the_operator_closed_is_opened_again(serve: Serve) -> None:
    operator = serve()
    with connected(f"http://127.0.0.1:{operator.server_port}/") as connection:
        connection.post(b"{}", HEADERS, 5)
        operator.hang_up()
        assert connection.post(b"{}", HEADERS, 5).status == 200
        operator.closes = True
        for _ in range(2):
            assert connection.post(b"{}", HEADERS, 5).status == 200
    assert operator.connections == 3


def test_the_operator_is_trusted_by_its_authority_and_its_name(
    serve: Serve, tmp_path: Path
) -> None:
    bundle = renew(None, ("localhost",), NOW)
    operator = serve(bundle)
    url = f"https://localhost:{operator.server_port}/"
    with connected(url, authority(tmp_path, bundle)) as connection:
        for _ in range(2):
            assert connection.post(b"{}", HEADERS, 5).status == 200
    assert operator.connections == 1


def test_a_new_authority_beside_the_old_one_is_read_for_the_next_connection(
    serve: Serve, tmp_path: Path
) -> None:
    old, new = renew(None, ("localhost",), NOW), renew(None, ("localhost",), NOW)
    operator = serve(new)
    path = authority(tmp_path, old)
    with connected(f"https://localhost:{operator.server_port}/", path) as connection:
        with pytest.raises(UntrustedError):
            connection.post(b"{}", HEADERS, 5)
        authority(tmp_path, old, new)
        assert connection.post(b"{}", HEADERS, 5).status == 200


IMPOSTORS = {
    "another authority": (("localhost",), True, "self-signed|unable to get"),
    "another name": (("elsewhere",), False, "localhost"),
}


@pytest.mark.parametrize(("names", "foreign", "why"), IMPOSTORS.values(), ids=IMPOSTORS)
def test_an_impostor_gets_no_report(
    serve: Serve, tmp_path: Path, names: tuple[str, ...], *, foreign: bool, why: str
) -> None:
    bundle = renew(None, names, NOW)
    trusted = renew(None, names, NOW) if foreign else bundle
    operator = serve(bundle)
    url = f"https://localhost:{operator.server_port}/"
    path = authority(tmp_path, trusted)
    with connected(url, path) as connection, pytest.raises(UntrustedError, match=why) as refused:
        connection.post(b"{}", HEADERS, 5)
    message = str(refused.value)
    assert "the certificate of localhost was not accepted" in message
    assert str(path) in message
    assert operator.paths == []


@pytest.mark.parametrize("text", [None, "no PEM"], ids=["absent", "no PEM"])
def test_a_file_without_authorities_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.crt"
    if text is not None:
        path.write_text(text)
    with (
        connected("https://localhost:9/", path) as connection,
        pytest.raises(UntrustedError, match=f"expected authorities as PEM in {path}"),
    ):
        connection.post(b"{}", HEADERS, 5)


def test_what_is_no_http_is_no_answer(tmp_path: Path) -> None:
    del tmp_path
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            accepted, _ = listener.accept()
            accepted.recv(1000)
            accepted.sendall(b"\x15\x03\x01 no HTTP\r\n\r\n")
            accepted.close()

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        with connected(url) as connection, pytest.raises(OSError, match=r"no HTTP|reset"):
            connection.post(b"{}", HEADERS, 5)
