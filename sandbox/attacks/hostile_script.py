"""Runs in a hostile pod, by `python3 -c`: takes one JSON argument, prints one JSON object.

Standard library alone. Every loop is bounded in count and time.
"""

import http.client
import json
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

TIMEOUT_S = 10
LARGE = 8_000


def unverified() -> ssl.SSLContext:
    """Return a context that takes any certificate: an attacker does not mind."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def ask(
    given: dict[str, Any], method: str, path: str, body: str | None, token: str
) -> dict[str, Any]:
    """Send one request; return its status and the start of the body."""
    connection = http.client.HTTPSConnection(
        given["host"], given["port"], timeout=TIMEOUT_S, context=unverified()
    )
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        # putrequest sends the path unchanged.
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        data = (body or "").encode()
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(data)))
        connection.endheaders(data)
        answer = connection.getresponse()
        return {"status": answer.status, "body": answer.read().decode(errors="replace")}
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "body": f"{type(error).__name__}: {error}"}
    finally:
        connection.close()


def post(given: dict[str, Any]) -> dict[str, Any]:
    """Post the report `count` times."""
    token = Path(given["token_file"]).read_text()
    body = json.dumps(given["report"])
    answers = [ask(given, "POST", given["path"], body, token) for _ in range(given["count"])]
    return {"answers": answers}


def flood(given: dict[str, Any]) -> dict[str, Any]:
    """Open connections and leave each unfinished in one way, for some seconds."""
    beginnings = {
        "half_open": b"",
        "large_headers": b"POST / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"y" * LARGE + b"\r\n",
        "slow_body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n",
    }
    deadline = time.monotonic() + given["seconds"]
    opened = []
    for _ in range(given["connections"]):
        if time.monotonic() > deadline:
            break
        try:
            raw = socket.create_connection((given["host"], given["port"]), timeout=2)
            if given["kind"] != "half_open":
                raw = unverified().wrap_socket(raw)
                raw.sendall(beginnings[given["kind"]])
            opened.append(raw)
        except OSError:
            continue
    while time.monotonic() < deadline:
        for connection in opened:
            try:
                if given["kind"] != "half_open":
                    connection.sendall(b"X")
            except OSError:
                continue
        time.sleep(0.5)
    for connection in opened:
        connection.close()
    return {"opened": len(opened)}


def metrics(given: dict[str, Any]) -> dict[str, Any]:
    """Read the metrics page."""
    return {"answer": ask(given, "GET", "/metrics", None, given["token"])}


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    action = {"post": post, "flood": flood, "metrics": metrics}[arguments["action"]]
    json.dump(action(arguments), sys.stdout)
