"""A real S3 server on loopback (versitygw), for tests, benchmarks and chaos."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local_cluster.binaries import S3_SERVER, ensure_binary
from sandbox.processes.addresses import LOOPBACK, free_port
from sandbox.site.object_store import ACCESS_KEY, BUCKETS, SECRET_KEY

START_TIMEOUT_S = 60.0
POLL_S = 0.02


@contextmanager
def s3_server(root: Path, *options: str) -> Iterator[int]:
    """Run the server on buckets that are folders below `root`; yield its port."""
    for bucket in BUCKETS:
        (root / bucket).mkdir(parents=True)
    port = free_port()
    keys = (f"--access={ACCESS_KEY}", f"--secret={SECRET_KEY}", f"--port={LOOPBACK}:{port}")
    command = [str(ensure_binary(S3_SERVER)), *keys, *options, "posix", str(root)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:  # noqa: S603 - a pinned binary
        try:
            _wait_for(port, server)
            yield port
        finally:
            server.kill()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            socket.create_connection((LOOPBACK, port), timeout=5).close()
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                msg = f"the S3 server on port {port} does not listen (exit code {server.poll()})"
                raise AssertionError(msg) from None
            time.sleep(POLL_S)
        else:
            return
