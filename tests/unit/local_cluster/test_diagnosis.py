from pathlib import Path

import pytest

from local_cluster import diagnosis
from local_cluster.errors import ClusterStateError
from local_cluster.topology import Cluster, Node


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    cluster = Cluster("demo", 0, tmp_path)
    logs = cluster.node_state(Node(1)) / "logs"
    logs.mkdir(parents=True)
    (logs / "init.log").write_text("kubelet ended with 1\nkubelet ended with -9\n")
    (logs / "kubelet.log").write_text("starting\npanic: no disk\n\n")
    return cluster


def test_a_program_that_keeps_ending_is_quoted(cluster: Cluster) -> None:
    assert diagnosis.describe_failures(cluster).strip() == (
        "kubelet of node-1 ended 2 times; its last line: panic: no disk"
    )


def test_the_silence_of_a_program_is_reported(tmp_path: Path) -> None:
    assert diagnosis.read_last_line(tmp_path / "absent.log") == "(no log)"
    (tmp_path / "empty.log").touch()
    assert diagnosis.read_last_line(tmp_path / "empty.log") == "(an empty log)"


def test_a_log_is_read_whole(cluster: Cluster) -> None:
    assert diagnosis.read_log(cluster, "node-1", "kubelet").startswith("starting\n")


def test_an_unknown_program_is_refused_with_those_that_have_a_log(cluster: Cluster) -> None:
    with pytest.raises(ClusterStateError, match="one with a log: init, kubelet"):
        diagnosis.read_log(cluster, "node-1", "web")


def test_programs_kept_down_are_listed(cluster: Cluster) -> None:
    stopped = cluster.node_state(Node(1)) / "stopped"
    stopped.mkdir()
    assert diagnosis.list_stopped(cluster, "node-1") == []
    (stopped / "kube-scheduler").touch()
    assert diagnosis.list_stopped(cluster, "node-1") == ["kube-scheduler"]
