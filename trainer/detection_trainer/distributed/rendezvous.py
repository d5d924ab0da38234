"""How workers meet before they compute: the chief waits for all, and says where to begin.

Over TCP, at the chief's address of `TF_CONFIG`; TensorFlow takes that port over afterwards. Its own
start waits without end and answers no signal, so that it begins only once all are there.
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
"""How long a worker waits for the others: as long as an image may take to be pulled."""
_RETRY_S = 0.5
_HELLO_S = 5.0
_MAX_LINE = 65536


@dataclass(frozen=True, slots=True)
class Decision:
    """What the chief says to all."""

    step: int | None = None
    """Of the own checkpoint to resume from; None: begin as the training says."""
    done: str = ""
    """Why nothing is left to compute."""


def gather_all(
    cluster: Cluster, subject: str, decision: Decision, timeout_s: float = TIMEOUT_S
) -> None:
    """Wait for all other workers, as their chief, and tell them `decision`.

    Args:
        cluster: who takes part.
        subject: names the training and its configuration; a worker of another is refused.
        decision: what is told, once all are there.
        timeout_s: how long to wait for the last.

    Raises:
        PeerLostError: not all came in time; those that did not are named.
    """
    if cluster.size == 1:
        return
    deadline = time.monotonic() + timeout_s
    with ExitStack() as stack:
        listener = stack.enter_context(_listen(cluster))
        present: dict[int, socket.socket] = {}
        while len(present) < cluster.size - 1:
            listener.settimeout(max(min(deadline - time.monotonic(), 1.0), 0.0) or 0.01)
            with suppress(TimeoutError):
                connection = stack.enter_context(listener.accept()[0])
                _admit(connection, subject, present)
            if time.monotonic() >= deadline and len(present) < cluster.size - 1:
                raise PeerLostError(_missing(cluster, present, timeout_s))
        said = {"step": decision.step, "done": decision.done}
        for connection in present.values():
            with suppress(OSError):  # One that left meanwhile is missed by all, soon.
                _send(connection, said)


def join(
    cluster: Cluster, subject: str, timeout_s: float = TIMEOUT_S, say: Callable[[str], None] = print
) -> Decision:
    """Go to the chief and wait until it says where to begin.

    Raises:
        PeerLostError: the chief did not come in time, ended, or refused this worker.
    """
    chief, deadline = cluster.addresses[0], time.monotonic() + timeout_s
    say(f"worker {cluster.index} of {cluster.size} waits for the chief at {chief}")
    while True:
        try:
            return _ask(cluster, subject, deadline)
        except OSError as error:
            if time.monotonic() + _RETRY_S >= deadline:
                msg = (
                    f"the chief (worker 0) did not answer at {chief} within {timeout_s:.0f} s "
                    f"({error}): see its pod or process"
                )
                raise PeerLostError(msg) from error
        time.sleep(_RETRY_S)


def _ask(cluster: Cluster, subject: str, deadline: float) -> Decision:
    host, _, port = cluster.addresses[0].rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_HELLO_S) as connection:
        _send(connection, {"worker": cluster.index, "subject": subject})
        connection.settimeout(max(deadline - time.monotonic(), 0.1))
        line = _receive(connection)
    if not line:
        # It met somebody in time or not, or ended: the next connection tells.
        raise ConnectionResetError("it closed the connection")
    try:
        said = parse_json(line)
        refused = said.get("refused")
        decision = None if refused else Decision(step=said["step"], done=said["done"])
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
    """Take a worker in; who says anything else is not one, and is not answered."""
    connection.settimeout(_HELLO_S)
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = parse_json(_receive(connection))
        if said["subject"] != subject:
            _send(connection, {"refused": f"this is {subject}; it is {said['subject']}"})
        else:
            present[int(said["worker"])] = connection


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
