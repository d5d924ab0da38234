"""A cluster's files and control groups: written before it starts, removed after its end."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from local_cluster import certificates, configuration, images, machine
from local_cluster.errors import MachineError
from local_cluster.topology import REGISTRY_NAME, Cluster, Node

CONTROL_PLANE_IDENTITIES = (
    certificates.CONTROLLER_MANAGER,
    certificates.SCHEDULER,
    certificates.PROXY,
    certificates.DNS,
    certificates.PROVISIONER,
    certificates.POLICY_ENFORCER,
)
NODE_DIRECTORIES = ("logs", "stopped", "var-lib", "cni", "pod-logs", "volume-plugins")


def write_cluster_files(cluster: Cluster) -> None:
    """Write certificates, kubeconfigs and the name server's configuration."""
    cluster.state.mkdir(parents=True, exist_ok=True)
    cluster.volumes.mkdir(exist_ok=True)
    cluster.registry.mkdir(parents=True, exist_ok=True)
    certificates.make_control_plane_certificates(cluster)
    for identity in CONTROL_PLANE_IDENTITIES:
        write_kubeconfig(cluster.state / f"{identity.file}.kubeconfig", cluster, identity)
    write_kubeconfig(cluster.kubeconfig, cluster, certificates.ADMINISTRATOR)
    (cluster.state / "Corefile").write_text(configuration.build_corefile(cluster))
    policy = configuration.to_json(configuration.build_audit_policy())
    cluster.audit_policy.write_text(policy)


def write_kubeconfig(path: Path, cluster: Cluster, identity: certificates.Identity) -> None:
    """Write a kubeconfig of `identity` that only its owner can read."""
    credentials = certificates.read_credentials(cluster.certificates, identity)
    path.touch(mode=0o600)
    path.write_text(configuration.build_kubeconfig(cluster, identity, credentials))


def write_node_files(cluster: Cluster, node: Node, plan: dict[str, Any]) -> None:
    """Write the files that containerd, the kubelet and process 1 of `node` read."""
    state = cluster.node_state(node)
    shutil.rmtree(state, ignore_errors=True)
    for name in NODE_DIRECTORIES:
        (state / name).mkdir(parents=True)
    cluster.image_store(node).mkdir(parents=True, exist_ok=True)
    identity = certificates.kubelet_identity(cluster, node)
    certificates.make_certificate(cluster.certificates, identity)
    write_kubeconfig(state / "kubelet.kubeconfig", cluster, identity)
    hosts = state / "registries" / REGISTRY_NAME / "hosts.toml"
    hosts.parent.mkdir(parents=True)
    texts = {
        state / "containerd.toml": configuration.build_containerd(
            cluster, node, find_cni_programs(), images.pause_reference()
        ),
        state / "cni" / "pods.conflist": configuration.build_cni(node),
        state / "kubelet.json": configuration.build_kubelet(cluster, node),
        state / "resolv.conf": "",
        state / "plan.json": configuration.to_json(plan),
        hosts: configuration.build_registry_hosts(cluster),
    }
    for path, text in texts.items():
        path.write_text(text)


def find_cni_programs() -> Path:
    """Return the folder of CNI plugins, which `prepare` has installed."""
    found = machine.find_cni_programs()
    if found is None:
        raise MachineError(
            f"no folder of {', '.join(map(str, machine.CNI_DIRECTORIES))} has all of "
            + ", ".join(machine.CNI_PROGRAMS),
            expected="the CNI plugins",
            remedy=f"`apt-get install {machine.CNI_PACKAGE}`",
        )
    return found


def cgroup_directories(root: Path, version: int, path: str) -> list[Path]:
    """Return the folders of the control group `path`: one, or one per hierarchy of version 1."""
    if version != 1:
        return [root / path]
    return [hierarchy / path for hierarchy in sorted(root.iterdir()) if hierarchy.is_dir()]


def make_cgroups(cluster: Cluster, node: Node) -> None:
    """Create the control group of `node`, which the kubelet requires."""
    version = machine.check_cgroups(machine.CGROUP_ROOT)
    path = f"{cluster.cgroup}/{node.name}"
    if version != 1:
        delegate_controllers(machine.CGROUP_ROOT, path)
        return
    for directory in cgroup_directories(machine.CGROUP_ROOT, version, path):
        directory.mkdir(parents=True, exist_ok=True)
        if (directory / "cpuset.cpus").exists():
            for group in (directory.parent, directory):
                inherit_cpuset(group)


def inherit_cpuset(group: Path) -> None:
    """Give `group` the processors and memory nodes of its parent; version 1 leaves them empty."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        (group / name).write_text((group.parent / name).read_text())


def delegate_controllers(root: Path, path: str) -> None:
    """Make the version-2 control group `path`, with the controllers enabled on the way."""
    wanted = " ".join(f"+{name}" for name in machine.CONTROLLERS[2])
    group = root
    for part in Path(path).parts:
        (group / "cgroup.subtree_control").write_text(wanted)
        group = group / part
        group.mkdir(exist_ok=True)


def remove_cgroups(cluster: Cluster) -> None:
    """Remove the emptied control groups of all nodes, the innermost first."""
    version = machine.check_cgroups(machine.CGROUP_ROOT)
    for top in cgroup_directories(machine.CGROUP_ROOT, version, cluster.cgroup):
        for parent, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(parent).rmdir()


def remove_state(cluster: Cluster) -> None:
    """Remove what ends with the cluster; images stay for the next one."""
    shutil.rmtree(cluster.state)
