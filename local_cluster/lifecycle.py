"""Starts a cluster, adds and kills nodes, and removes it."""

from __future__ import annotations

import contextlib
import http
import json
import socket
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from local_cluster import (
    api,
    configuration,
    diagnosis,
    files,
    images,
    machine,
    namespaces,
    progress,
    shell,
)
from local_cluster.binaries import Programs, ensure_programs
from local_cluster.cache import cache_directory, locked
from local_cluster.errors import ClusterStateError, NetworkError
from local_cluster.namespaces import ProcessIdentity
from local_cluster.plan import build_plan
from local_cluster.topology import (
    DNS_PORT,
    PACKET_QUEUE,
    REGISTRY_PORT,
    Cluster,
    Node,
    check_name,
    choose_subnet_index,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

UP_NEEDS_BYTES = 4 * machine.GIB
STORAGE_CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
API_TIMEOUT_S = 120.0
NODE_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Running:
    """A cluster's record on disk: its subnet, and process 1 of each of its nodes."""

    cluster: Cluster
    nodes: dict[int, ProcessIdentity] = field(default_factory=dict)

    @property
    def is_up(self) -> bool:
        """Whether the first node runs, and so the control plane."""
        return namespaces.is_alive(self.nodes.get(1))

    def save(self) -> None:
        """Write the record completely or not at all."""
        path = self.cluster.state / "cluster.json"
        content = {
            "subnet_index": self.cluster.subnet_index,
            "audited": self.cluster.audited,
            "nodes": {str(index): asdict(process) for index, process in self.nodes.items()},
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(configuration.to_json(content))
        temporary.replace(path)


def load(name: str) -> Running | None:
    """Return the record of cluster `name`; None if there is none."""
    check_name(name)
    cache = cache_directory()
    path = cache / "clusters" / name / "cluster.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    nodes = {int(index): ProcessIdentity(**entry) for index, entry in content["nodes"].items()}
    audited = content.get("audited", False)
    return Running(Cluster(name, content["subnet_index"], cache, audited), nodes)


def load_up(name: str) -> Running:
    """Return the record of cluster `name`, which must be up."""
    running = load(name)
    if running is None or not running.is_up:
        raise ClusterStateError(
            f"the cluster {name!r} is not up",
            expected="it up",
            remedy=f"`python3 -m local_cluster up --name {name}`",
        )
    return running


def is_up(name: str) -> bool:
    """Return whether cluster `name` runs."""
    running = load(name)
    return running is not None and running.is_up


def list_names() -> list[str]:
    """Return the names of all clusters that have a record, up or not."""
    return sorted(path.parent.name for path in cache_directory().glob("clusters/*/cluster.json"))


@contextlib.contextmanager
def held(name: str) -> Iterator[None]:
    """Prevent other commands from changing cluster `name` meanwhile."""
    with locked(cache_directory() / "locks" / f"cluster-{name}"):
        yield


def prepare() -> Programs:
    """Prepare what `up` needs: packages, programs, the pause image; return the programs."""
    machine.check_machine(cache_directory(), UP_NEEDS_BYTES)
    machine.ensure_packages(machine.RUNTIME_PACKAGES)
    machine.check_packet_filter()
    programs = ensure_programs()
    images.ensure_pause_image()
    return programs


def up(
    name: str, node_count: int = 1, subnet_index: int | None = None, *, audited: bool = False
) -> Running:
    """Start cluster `name` with at least `node_count` nodes; running nodes stay as they are.

    Raises:
        ClusterStateError: it runs without the audit log that was requested.
    """
    check_name(name)
    programs = prepare()
    with held(name):
        running = load(name)
        if running is None or not running.is_up:
            if running is not None:
                _remove(running)
            running = _start(name, subnet_index, programs, audited=audited)
        _check_audited(running.cluster, audited=audited)
        _check_enforcing(running.cluster)
        for index in range(2, node_count + 1):
            if not namespaces.is_alive(running.nodes.get(index)):
                _start_node(running, Node(index), programs)
        _wait_for_api(running.cluster)
        _wait_for_nodes(running)
        _wait_for_services(running.cluster)
        _wait_for_policies(running)
        return running


def _check_audited(cluster: Cluster, *, audited: bool) -> None:
    if audited and not cluster.audited:
        raise ClusterStateError(
            f"the cluster {cluster.name!r} is up without an audit log",
            expected="one that was started with it",
            remedy=f"`python3 -m local_cluster down --name {cluster.name}`, then `up --audit`",
        )


def _check_enforcing(cluster: Cluster) -> None:
    if not (cluster.state / "policy-enforcer.kubeconfig").exists():
        raise ClusterStateError(
            f"the cluster {cluster.name!r} was started by an older version, which does not "
            "enforce NetworkPolicies",
            expected="one that does",
            remedy=f"`python3 -m local_cluster down --name {cluster.name}`, then `up`",
        )


def _start(name: str, subnet_index: int | None, programs: Programs, *, audited: bool) -> Running:
    """Start the first node of a new cluster, on a network that no other cluster takes meanwhile."""
    with locked(cache_directory() / "locks" / "subnets"):
        routes = machine.read_routes()
        if subnet_index is None:
            subnet_index = choose_subnet_index(routes)
        cluster = Cluster(name, subnet_index, cache_directory(), audited)
        machine.check_subnet_free(cluster.subnet, routes)
        running = Running(cluster)
        files.write_cluster_files(cluster)
        running.save()
        _start_node(running, Node(1), programs)
    return running


def _start_node(running: Running, node: Node, programs: Programs) -> None:
    """Start `node` in its own namespaces and link it to the other nodes."""
    cluster = running.cluster
    state = cluster.node_state(node)
    log = state / "logs" / "init.log"
    with progress.step(f"start {node.name}"):
        files.write_node_files(cluster, node, build_plan(cluster, node, programs))
        files.make_cgroups(cluster, node)
        first = None if node.is_control_plane else running.nodes[1]
        launcher = namespaces.launch(state / "plan.json", log, first)
        process = namespaces.find_init(launcher, log)
        running.nodes[node.index] = process
        running.save()
        try:
            for command in namespaces.build_link_commands(cluster, node, process.pid):
                _run_link_command(command, first)
            (state / "linked").touch()
            namespaces.wait_until_prepared(process, state / "prepared", log)
        except BaseException:
            namespaces.kill(process)
            raise


def _wait_for_api(cluster: Cluster) -> None:
    """Wait until the API server is ready and has its initial objects."""
    with progress.step("wait for the API server"):
        api.wait_until(
            "the API server ready",
            lambda: api.is_ready(cluster),
            timeout_s=API_TIMEOUT_S,
            explain=lambda: diagnosis.describe_failures(cluster),
            remedy=f"read the logs in {cluster.node_state(Node(1)) / 'logs'}",
        )
        for storage_class in configuration.build_storage_classes():
            api.apply(cluster, STORAGE_CLASSES, storage_class)


def _run_link_command(command: list[str], inside: ProcessIdentity | None) -> None:
    """Run one `ip` command on the host, or in the network namespace of process `inside`."""
    if inside:
        done = namespaces.run_inside(inside, command, net_only=True)
    else:
        done = shell.capture(command)
    if done.returncode != 0:
        raise NetworkError(
            f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}",
            expected="a kernel with veth interfaces, and the name and address free",
            remedy="`ip link` and `ip route` show what is there; `modprobe veth` loads the driver",
        )


def _wait_for_nodes(running: Running) -> None:
    """Wait until every running node is Ready."""
    names = {Node(index).name for index, p in running.nodes.items() if namespaces.is_alive(p)}

    def are_ready() -> bool:
        conditions = api.read_node_conditions(running.cluster)
        return all(conditions.get(name) == "True" for name in names)

    with progress.step(f"wait for {', '.join(sorted(names))} to be Ready"):
        api.wait_until(
            f"{', '.join(sorted(names))} Ready",
            are_ready,
            timeout_s=NODE_TIMEOUT_S,
            explain=lambda: diagnosis.describe_failures(running.cluster),
            remedy=f"read the logs in {running.cluster.state / 'nodes'}",
        )


def _wait_for_services(cluster: Cluster) -> None:
    """Wait until a pod can be created, can resolve names and can pull images."""
    account = "/api/v1/namespaces/default/serviceaccounts/default"

    def are_ready() -> bool:
        for port in (DNS_PORT, REGISTRY_PORT):
            socket.create_connection((cluster.api_address, port), timeout=1).close()
        return api.request(cluster, "GET", account)[0] == http.HTTPStatus.OK

    with progress.step("wait for names, images and service accounts"):
        api.wait_until(
            "DNS and image registry listening, and the default service account made",
            are_ready,
            timeout_s=API_TIMEOUT_S,
            explain=lambda: diagnosis.describe_failures(cluster),
            remedy=f"read the logs in {cluster.node_state(Node(1)) / 'logs'}",
        )


def _wait_for_policies(running: Running) -> None:
    """Wait until NetworkPolicies are enforced on every running node."""
    nodes = [process for process in running.nodes.values() if namespaces.is_alive(process)]
    with progress.step("wait for network policies"):
        api.wait_until(
            "NetworkPolicies enforced on every node",
            lambda: all(namespaces.has_packet_queue(node.pid, PACKET_QUEUE) for node in nodes),
            timeout_s=NODE_TIMEOUT_S,
            explain=lambda: diagnosis.describe_failures(running.cluster),
            remedy="read the logs (`python3 -m local_cluster logs policy-enforcer`)",
        )


def down(name: str) -> bool:
    """Kill cluster `name` and remove its state; return whether there was one."""
    with held(name):
        running = load(name)
        if running is None:
            return False
        with progress.step(f"take {name} down"):
            _remove(running)
        return True


def _remove(running: Running) -> None:
    """Kill the first node and with it all others, and remove their files and cgroups."""
    first = running.nodes.get(1)
    # A dead cluster has no link any longer, and its subnet may belong to another cluster now.
    if first and namespaces.is_alive(first):
        namespaces.kill(first)
        namespaces.remove_link(running.cluster.host_link)
    files.remove_cgroups(running.cluster)
    files.remove_state(running.cluster)
