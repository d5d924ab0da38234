"""Free addresses: different ones, which a server can listen on."""

import socket

from sandbox.processes.addresses import LOOPBACK, free_addresses, free_port


def test_free_addresses_are_different_and_on_loopback() -> None:
    found = free_addresses(20)
    assert len(set(found)) == 20
    assert {address.partition(":")[0] for address in found} == {LOOPBACK}


def test_a_server_can_listen_on_a_free_port() -> None:
    port = free_port()
    with socket.create_server((LOOPBACK, port)) as server:
        assert server.getsockname() == (LOOPBACK, port)
