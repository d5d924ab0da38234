"""Free addresses on loopback."""

import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"


def free_port() -> int:
    """Return a port of loopback that was free a moment ago."""
    return free_ports(1)[0]


def free_addresses(count: int) -> list[str]:
    """Return `count` different addresses of loopback that were free a moment ago."""
    return [f"{LOOPBACK}:{port}" for port in free_ports(count)]


def free_ports(count: int) -> list[int]:
    """Return `count` different free ports: all are taken before the first is freed."""
    with ExitStack() as stack:
        made = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in made]
