"""Up may be repeated, clusters run side by side, and down leaves the machine as it was."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from local_cluster import api, lifecycle, machine, namespaces
from local_cluster.cache import cache_directory
from local_cluster.errors import MachineError
from tests.integration.local_cluster.conftest import Trial, drive

OTHER = "trial-beside"


def observe_host() -> dict[str, object]:
    """Return what a cluster could leave behind or change on this machine, other clusters' apart."""
    rules = subprocess.run(["iptables-save"], capture_output=True, text=True, check=False).stdout
    return {
        "mounts": Path("/proc/self/mounts").read_text().splitlines(),
        "rules": [line for line in rules.splitlines() if line.startswith("-A")],
        "settings": {
            name: Path("/proc/sys", name).read_text()
            for name in ("vm/overcommit_memory", "kernel/panic", "net/ipv4/ip_forward")
        },
        "folders": {
            folder: Path(folder).exists()
            for folder in ("/var/lib/kubelet", "/var/lib/cni", "/run/containerd", "/run/netns")
        },
    }


def list_traces(name: str, link: str) -> list[str]:
    """Return processes, control groups, interfaces and files that name a cluster."""
    state = f"/clusters/{name}/"
    traces = [link] if link in {name for _, name in socket.if_nameindex()} else []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state in command:
            traces.append(command)
    traces += [str(path) for path in machine.CGROUP_ROOT.glob(f"**/*cluster-{name}")]
    clusters = cache_directory() / "clusters"
    return traces + [str(path) for path in clusters.glob(name)]


def test_down_leaves_the_machine_as_it_was(trial: Trial) -> None:
    before = observe_host()
    running = lifecycle.up(OTHER, 2)
    link = running.cluster.host_link
    try:
        assert list_traces(OTHER, link)
        assert running.cluster.subnet != trial.running.cluster.subnet
        beside = Trial(OTHER, trial.image)
        assert beside.run_to_end(beside.pod("first", "echo one")).strip() == "one"
        beside.apply(beside.pod("lasting", "sleep 1000"))
        beside.wait("pod/lasting", "condition=Ready")
        assert observe_host() == before
    finally:
        assert lifecycle.down(OTHER)
    assert list_traces(OTHER, link) == []
    assert observe_host() == before


def test_up_again_changes_nothing(trial: Trial) -> None:
    before = trial.running.nodes
    done = drive("up", "--name", trial.name, "--nodes", "2")
    assert trial.running.nodes == before
    assert done.stdout.strip() == str(trial.running.cluster.kubeconfig)


def test_status_names_the_nodes(trial: Trial) -> None:
    shown = drive("status", "--name", trial.name).stdout
    assert shown.startswith(f"{trial.name}: up at https://10.89.")
    assert "node-1: Ready=True" in shown
    assert "node-2: Ready=True" in shown


def test_a_subnet_that_another_cluster_has_is_refused(trial: Trial) -> None:
    taken = str(trial.running.cluster.subnet_index)
    refused = drive("up", "--name", OTHER, "--subnet", taken, check=False)
    assert refused.returncode == 1
    assert "which this machine already routes" in refused.stderr
    assert OTHER not in lifecycle.list_names()


def test_up_as_another_user_is_refused() -> None:
    command = ["setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/python3", "-m"]
    refused = subprocess.run(
        [*command, "local_cluster", "up"],
        env={**os.environ, "DETECTION_TRAINING_CACHE": "/tmp"},  # noqa: S108 (never written)
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert "this runs as user 65534" in refused.stderr


@pytest.mark.usefixtures("trial")
def test_a_killed_cluster_is_started_again() -> None:
    running = lifecycle.up(OTHER)
    try:
        namespaces.kill(running.nodes[1])
        again = lifecycle.up(OTHER)
        assert again.nodes[1] != running.nodes[1]
        assert set(api.read_node_conditions(again.cluster).values()) == {"True"}
    finally:
        lifecycle.down(OTHER)


def test_an_impossible_cache_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine, "HIDDEN_FROM_CACHE", (str(tmp_path),))
    monkeypatch.setenv("DETECTION_TRAINING_CACHE", str(tmp_path / "cache"))
    with pytest.raises(MachineError, match="DETECTION_TRAINING_CACHE"):
        lifecycle.up(OTHER)
