"""A program that floods a port of this machine with connections, from many loopback addresses.

    python flooding.py KIND PORT CONNECTIONS ADDRESSES FIRST ROUNDS

KIND is `half_open` (the start of a request) or `large_headers` (960 KB of headers). FIRST is the
number of the first address. It prints how many connections it opened in all ROUNDS, and holds those
of the last round until its standard input ends.
"""

import resource
import socket
import sys
from contextlib import suppress

HALF = b"POST /v1/namespaces/a/trainings/b/report HTTP/1.1\r\nHost: x\r\n"
HEADERS = b"".join(b"X-%d: %s\r\n" % (number, b"x" * 7500) for number in range(128))
TEXTS = {"half_open": HALF, "large_headers": HALF + HEADERS}
CONNECT_S, SEND_S = 10.0, 2.0


def flood(
    kind: str, port: int, connections: int, addresses: int, first: int
) -> list[socket.socket]:
    """Open connections and leave each request unfinished; refused ones are kept too."""
    opened = []
    for number in range(connections):
        source = first + number % addresses
        with suppress(OSError):
            address = (f"127.0.{1 + source // 250}.{1 + source % 250}", 0)
            one = socket.create_connection(("127.0.0.1", port), CONNECT_S, address)
            opened.append(one)
            one.settimeout(SEND_S)
            one.sendall(TEXTS[kind])
    return opened


def main() -> None:
    """Flood according to the arguments, and hold the connections of the last round."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    kind, *numbers = sys.argv[1:]
    port, connections, addresses, first, rounds = map(int, numbers)
    count = 0
    for left in reversed(range(rounds)):
        held = flood(kind, port, connections, addresses, first)
        count += len(held)
        for one in held if left else ():
            one.close()
    sys.stdout.write(f"{count}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
