"""The rendezvous of workers: the chief waits for all of them and sends where to begin.

It uses TCP at the chief's address of `TF_CONFIG`; TensorFlow uses that port afterwards. The start
of TensorFlow waits without a timeout and ignores signals, so it begins once all are present.
"""

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from detection_trainer.contract.documents import parse_json
from detection_trainer.distributed.tf_config import Cluster
from detection_trainer.errors import PeerLostError

TIMEOUT_S = 600.0
"""How long a worker waits for the others: enough for the pull of an image."""
_RETRY_S = 0.5
_HELLO_S = 5.0
_MAX_LINE = 65536


@dataclass(frozen=True, slots=True)
class Decision:
    """What the chief sends to all workers."""

    step: int | None = None
    """Step of the checkpoint to resume from; None: begin as the spec defines."""
    done: str = ""
    """Why nothing is left to compute; empty if something is."""


def gather_all(
    cluster: Cluster, subject: str, decision: Decision, timeout_s: float = TIMEOUT_S
) -> None:
    """As the chief, wait for all other workers and send them `decision`.

    Args:
        cluster: the workers.
        subject: identifies the training and its configuration; other workers are refused.
        decision: sent once all workers are present.
        timeout_s: how long to wait for the last worker.

    Raises:
        PeerLostError: not all connected in time; the message names the missing ones.
    """
    if cluster.size == 1:
        return
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(cluster))
        present: dict[int, socket.socket] = {}
        while len(present) < cluster.size - 1:
            # At most a second, so that a signal and the deadline are noticed soon.
            listener.settimeout(max(min(deadline - time.monotonic(), 1.0), 0.0) or 0.01)
            with suppress(TimeoutError):
                connection = stack.enter_context(listener.accept()[0])
                _admit(connection, subject, present)
            if time.monotonic() >= deadline and len(present) < cluster.size - 1:
                raise PeerLostError(_missing(cluster, present, timeout_s))
        message = {"step": decision.step, "done": decision.done}
        for connection in present.values():
            with suppress(OSError):  # If this worker has left, the first collective fails on all.
                _send(connection, message)


def join(
    cluster: Cluster, subject: str, timeout_s: float = TIMEOUT_S, log: Callable[[str], None] = print
) -> Decision:
    """Connect to the chief and return its decision.

    Raises:
        PeerLostError: the chief did not answer in time, ended, or refused this worker.
    """
    chief, deadline = cluster.addresses[0], time.monotonic() + timeout_s
    log(f"worker {cluster.index} of {cluster.size} waits for the chief at {chief}")
    while True:
        try:
            return _request_decision(cluster, subject, deadline)
        except OSError as error:
            if time.monotonic() + _RETRY_S >= deadline:
                msg = (
                    f"the chief (worker 0) did not answer at {chief} within {timeout_s:.0f} s "
                    f"({error}): see its pod or process"
                )
                raise PeerLostError(msg) from error
        time.sleep(_RETRY_S)


def _request_decision(cluster: Cluster, subject: str, deadline: float) -> Decision:
    host, _, port = cluster.addresses[0].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_HELLO_S) as connection:
        _send(connection, {"worker": cluster.index, "subject": subject})
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        line = _receive(connection)
    if not line:
        # The chief timed out, succeeded or ended: the next connection shows which.
        raise ConnectionResetError("it closed the connection")
    try:
        answer = parse_json(line)
        refused = answer.get("refused")
        decision = None if refused else Decision(step=answer["step"], done=answer["done"])
    except (ValueError, LookupError, AttributeError) as error:
        raise PeerLostError(
            f"expected the chief's decision at {cluster.addresses[0]}; received {line[:80]!r}: "
            "check that the address is that of worker 0"
        ) from error
    if decision is None:
        raise PeerLostError(f"the chief refused worker {cluster.index}: {refused}")
    return decision


def _listen(cluster: Cluster) -> socket.socket:
    port = int(cluster.addresses[0].rpartition(":")[2])
    try:
        return socket.create_server(("", port), backlog=cluster.size)
    except OSError as error:
        msg = (
            f"the chief cannot listen at port {port}: {error}: stop the process that uses it, or "
            "choose another port"
        )
        raise PeerLostError(msg) from error


def _admit(connection: socket.socket, subject: str, present: dict[int, socket.socket]) -> None:
    """Add a worker to `present`; connections with other content are closed without an answer."""
    connection.settimeout(_HELLO_S)
    with suppress(OSError, ValueError, KeyError, TypeError):
        request = parse_json(_receive(connection))
        if request["subject"] != subject:
            _send(connection, {"refused": f"this is {subject}; it is {request['subject']}"})
        else:
            present[int(request["worker"])] = connection


def _missing(cluster: Cluster, present: dict[int, socket.socket], timeout_s: float) -> str:
    missing = [i for i in range(1, cluster.size) if i not in present]
    places = ", ".join(f"{i} ({cluster.addresses[i]})" for i in missing[:5])
    return (
        f"{len(missing)} of {cluster.size} workers did not connect within {timeout_s:.0f} s: "
        f"{places}: see their pods or processes"
    )


def _send(connection: socket.socket, message: object) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE:
        part = connection.recv(4096)
        if not part:
            return b""
        line += part
    return line
