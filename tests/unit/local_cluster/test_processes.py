from pathlib import Path

from local_cluster.binaries import Programs
from local_cluster.plan import build_plan
from local_cluster.processes import build_processes
from local_cluster.topology import Cluster, Node

CLUSTER = Cluster("demo", 7, Path("/cache"))
PROGRAMS = Programs(Path("/bin/components"), Path("/bin/policy-enforcer"))


def names(node: Node) -> set[str]:
    return {process.name for process in build_processes(CLUSTER, node, PROGRAMS)}


def test_every_node_runs_pods() -> None:
    assert names(Node(2)) == {"containerd", "kubelet", "kube-proxy", "policy-enforcer"}


def test_the_first_node_also_runs_the_control_plane() -> None:
    assert names(Node(1)) - names(Node(2)) == {
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "coredns",
        "provisioner",
        "registry",
    }


def test_only_what_the_api_server_needs_starts_before_it() -> None:
    early = {p.name for p in build_processes(CLUSTER, Node(1), PROGRAMS) if not p.after_api}
    assert early == {"etcd", "kube-apiserver", "containerd", "registry"}


def test_a_plan_hides_the_host_s_folders_before_any_program_writes() -> None:
    plan = build_plan(CLUSTER, Node(2), PROGRAMS)
    mounts = [command for command in plan["setup"] if command[0] == "mount"]
    assert mounts[0] == ["mount", "--make-rshared", "/"]
    assert {command[-1] for command in mounts[1:]} == {"/run", "/var/log", "/var/lib"}


def test_a_later_node_reaches_the_others_through_the_first() -> None:
    plan = build_plan(CLUSTER, Node(2), PROGRAMS)
    assert ["ip", "address", "add", "10.89.7.3/32", "dev", "eth0"] in plan["setup"]
    routes = [command for command in plan["setup"] if command[:3] == ["ip", "route", "add"]]
    assert routes == [
        ["ip", "route", "add", "default", "via", "10.89.7.2", "dev", "eth0", "onlink"]
    ]


def test_each_connection_of_a_pod_is_decided_on_once_its_service_s_address_is_a_pod_s() -> None:
    rules = [rule for rule in build_plan(CLUSTER, Node(2), PROGRAMS)["setup"] if "NFQUEUE" in rule]
    assert [rule[rule.index("NEW") + 1 :][:2] for rule in rules] == [
        ["-s", "10.200.0.0/16"],
        ["-d", "10.200.0.0/16"],
    ]
    assert all("FORWARD" in rule and "--queue-bypass" in rule for rule in rules)


def test_only_an_audited_cluster_s_api_server_writes_down_each_request() -> None:
    def flags(cluster: Cluster) -> list[str]:
        [server] = [
            process
            for process in build_processes(cluster, Node(1), PROGRAMS)
            if process.name == "kube-apiserver"
        ]
        return [flag for flag in server.arguments if flag.startswith("--audit")]

    assert flags(CLUSTER) == []
    assert "--audit-log-path" in flags(Cluster("demo", 7, Path("/cache"), audited=True))
