import os
from pathlib import Path

import pytest

from local_cluster import namespaces
from local_cluster.namespaces import ProcessIdentity
from local_cluster.topology import Cluster, Node

CLUSTER = Cluster("demo", 7, Path("/cache"))
PLAN = Path("/plan.json")


def test_the_first_node_begins_on_the_host() -> None:
    assert namespaces.build_launch(PLAN, None)[0] == "unshare"


def test_a_later_node_starts_inside_the_first_so_that_it_ends_with_it() -> None:
    command = namespaces.build_launch(PLAN, ProcessIdentity(42, 1))
    assert command[:5] == ["nsenter", "--target", "42", "--net", "--pid"]


def test_the_host_gets_one_interface_with_one_address() -> None:
    commands = namespaces.build_link_commands(CLUSTER, Node(1), 42)
    assert commands[0][:4] == ["ip", "link", "add", "dtcluster7"]
    assert commands[-1] == ["ip", "address", "add", "10.89.7.1/24", "dev", "dtcluster7"]


def test_the_first_node_gets_routes_to_a_later_one_and_its_pods() -> None:
    routes = namespaces.build_link_commands(CLUSTER, Node(2), 42)[2:]
    assert [route[3] for route in routes] == ["10.89.7.3", "10.200.2.0/24"]


def test_a_process_is_distinguished_from_a_later_one_of_the_same_number() -> None:
    started = namespaces.read_start_time(os.getpid())
    assert started is not None
    assert namespaces.is_alive(ProcessIdentity(os.getpid(), started))
    assert not namespaces.is_alive(ProcessIdentity(os.getpid(), started + 1))
    assert not namespaces.is_alive(None)


def test_a_process_that_is_gone_has_no_start_time() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert namespaces.read_start_time(pid) is None
    namespaces.kill(ProcessIdentity(pid, 1))


def test_a_node_s_process_1_is_not_just_any_process() -> None:
    assert not namespaces.is_node_init(os.getpid())


@pytest.mark.parametrize("state", ["Z (zombie)"])
def test_an_uncollected_process_counts_as_gone(state: str) -> None:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert state in Path("/proc", str(pid), "status").read_text()
    assert namespaces.read_start_time(pid) is None
    os.waitpid(pid, 0)


QUEUE_TABLE = """\
    1  20655     0 2 65531     0     0        0  1
  100   4711     0 2   128     0     0       35  1
"""


@pytest.mark.parametrize(("queue", "read"), [(100, True), (1, True), (10, False), (4711, False)])
def test_a_packet_queue_that_a_program_reads_is_recognised_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: int, *, read: bool
) -> None:
    table = tmp_path / "42/net/netfilter/nfnetlink_queue"
    table.parent.mkdir(parents=True)
    table.write_text(QUEUE_TABLE)
    monkeypatch.setattr(namespaces, "PROCESSES", tmp_path)
    assert namespaces.has_packet_queue(42, queue) is read
    assert not namespaces.has_packet_queue(43, queue), "the node is gone"
