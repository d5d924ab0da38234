"""Workers that meet over loopback: all of them, some of them, and those that are none."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from detection_trainer.distributed import rendezvous
from detection_trainer.distributed.rendezvous import Decision, gather_all, join
from detection_trainer.distributed.tf_config import Cluster, parse_cluster, require_cluster
from detection_trainer.errors import InvalidConfigError, PeerLostError
from sandbox.processes.addresses import free_addresses
from tests.support.trainer.runs import parsed

SUBJECT = "vision/trees to step 100"


@pytest.fixture
def addresses() -> tuple[str, ...]:
    return tuple(free_addresses(3))


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def quiet(_message: str) -> None:
    return


@pytest.mark.parametrize("decision", [Decision(step=40), Decision(), Decision(done="all done")])
def test_all_workers_receive_the_decision_of_the_chief(
    addresses: tuple[str, ...], threads: ThreadPoolExecutor, decision: Decision
) -> None:
    others = [
        threads.submit(join, Cluster(addresses, index), SUBJECT, 60.0, quiet) for index in (1, 2)
    ]
    gather_all(Cluster(addresses), SUBJECT, decision, 60.0)
    assert [other.result(60) for other in others] == [decision, decision]


def test_the_chief_names_the_workers_that_did_not_connect(
    addresses: tuple[str, ...], threads: ThreadPoolExecutor
) -> None:
    other = threads.submit(join, Cluster(addresses, 1), SUBJECT, 1.5, quiet)
    with pytest.raises(PeerLostError, match=r"1 of 3 workers did not connect .* 2 \(127.0.0.1:"):
        gather_all(Cluster(addresses), SUBJECT, Decision(), 1.0)
    with pytest.raises(PeerLostError, match="did not answer"):
        other.result(60)


def test_a_worker_of_another_training_is_refused(
    addresses: tuple[str, ...], threads: ThreadPoolExecutor
) -> None:
    stranger = threads.submit(join, Cluster(addresses, 1), "vision/oaks", 60.0, quiet)
    chief = threads.submit(gather_all, Cluster(addresses), SUBJECT, Decision(), 60.0)
    with pytest.raises(PeerLostError, match="this is vision/trees to step 100; it is vision/oaks"):
        stranger.result(60)
    others = [threads.submit(join, Cluster(addresses, i), SUBJECT, 60.0, quiet) for i in (1, 2)]
    assert [other.result(60) for other in others] == [Decision(), Decision()]
    chief.result(60)


def test_a_client_that_sends_anything_else_is_no_worker(
    addresses: tuple[str, ...], threads: ThreadPoolExecutor
) -> None:
    two = addresses[:2]
    chief = threads.submit(gather_all, Cluster(two), SUBJECT, Decision(step=2), 60.0)
    host, port = two[0].split(":")
    for sent in (b"GET / HTTP/1.1\r\n\r\n", json.dumps([1]).encode() + b"\n", b""):
        for _ in range(600):
            try:
                with socket.create_connection((host, int(port)), timeout=5) as probe:
                    probe.sendall(sent)
            except ConnectionRefusedError:
                continue
            break
    assert join(Cluster(two, 1), SUBJECT, 60.0, quiet) == Decision(step=2)
    chief.result(60)


def test_a_single_worker_opens_no_port_and_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    listened: list[Cluster] = []
    monkeypatch.setattr(rendezvous, "_listen", listened.append)
    gather_all(Cluster(), SUBJECT, Decision())
    assert listened == []


def test_a_port_in_use_is_named(addresses: tuple[str, ...]) -> None:
    port = int(addresses[0].rpartition(":")[2])
    with (
        socket.create_server(("", port)),
        pytest.raises(PeerLostError, match=f"cannot listen at port {port}"),
    ):
        gather_all(Cluster(addresses), SUBJECT, Decision(), 1.0)


TWO = {"worker": ["a:1", "b:2"]}


def test_tf_config_names_the_workers() -> None:
    text = json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 1}})
    cluster = parse_cluster(text)
    assert cluster == Cluster(("a:1", "b:2"), 1)
    assert (cluster.size, cluster.is_chief) == (2, False)
    assert parse_cluster(None) == parse_cluster("") == Cluster()
    assert Cluster().is_chief


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        json.dumps({"cluster": TWO}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": 2}}),
        json.dumps({"cluster": TWO, "task": {"type": "worker", "index": -1}}),
        json.dumps({"cluster": TWO, "task": {"type": "ps", "index": 0}}),
        json.dumps({"cluster": {**TWO, "ps": ["c:3"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": [7]}, "task": {"type": "worker", "index": 0}}),
        json.dumps({"cluster": {"worker": []}, "task": {"type": "worker", "index": 0}}),
    ],
)
def test_another_tf_config_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfigError, match="TF_CONFIG: expected the addresses of workers"):
        parse_cluster(text)


def test_the_number_of_workers_is_that_of_the_spec() -> None:
    require_cluster(parsed(workers=2).spec, Cluster(("a:1", "b:2"), 1))
    with pytest.raises(InvalidConfigError, match=r"workers 2: .* received 1"):
        require_cluster(parsed(workers=2).spec, Cluster())
    with pytest.raises(InvalidConfigError, match=r"workers 1: .* received 2"):
        require_cluster(parsed().spec, Cluster(("a:1", "b:2"), 1))
