"""The command line of every program of the cluster, and when it may start: pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_cluster import certificates
from local_cluster.topology import (
    API_PORT,
    PACKET_QUEUE,
    PODS_RANGE,
    REGISTRY_PORT,
    SERVICES_RANGE,
    Cluster,
    Node,
)

if TYPE_CHECKING:
    from local_cluster.binaries import Programs

ETCD_URL = "http://127.0.0.1:2379"
NODE_GRACE_S = 20
AUDIT_LOG_MIB = 100_000
"""Never reached: a reader would miss the beginning of a log that was rotated."""
# With the default of 20 requests a second the controllers take 8 s to start.
CLIENT_RATE = ("--kube-api-qps", "500", "--kube-api-burst", "1000")


@dataclass(frozen=True, slots=True)
class Process:
    """A supervised program; with `after_api` it waits until the API server is ready."""

    name: str
    arguments: tuple[str, ...]
    after_api: bool = False


def build_processes(cluster: Cluster, node: Node, programs: Programs) -> list[Process]:
    """Return the processes of `node`, in the order of their start."""
    components = str(programs.components)
    processes = build_node_processes(cluster, node, components)
    if node.is_control_plane:
        processes = build_control_plane_processes(cluster, components) + processes
    return [*processes, build_policy_enforcer(cluster, node, str(programs.policy_enforcer))]


def build_node_processes(cluster: Cluster, node: Node, components: str) -> list[Process]:
    """Return the processes of every node: container runtime, kubelet, service proxy."""
    state = cluster.node_state(node)
    return [
        Process("containerd", ("containerd", "--config", str(state / "containerd.toml"))),
        Process(
            "kubelet",
            (
                *(components, "kubelet", "--config", str(state / "kubelet.json")),
                *("--kubeconfig", str(state / "kubelet.kubeconfig")),
                *("--hostname-override", node.name, "--node-ip", cluster.node_address(node)),
            ),
            after_api=True,
        ),
        Process(
            "kube-proxy",
            (
                *(components, "kube-proxy", "--proxy-mode", "iptables"),
                *("--kubeconfig", str(cluster.state / "kube-proxy.kubeconfig")),
                *("--cluster-cidr", str(PODS_RANGE), "--hostname-override", node.name),
                *("--conntrack-max-per-core", "0"),
            ),
            after_api=True,
        ),
    ]


def build_policy_enforcer(cluster: Cluster, node: Node, program: str) -> Process:
    """Return the process that admits or drops the connections of the pods on `node`."""
    return Process(
        "policy-enforcer",
        (
            *(program, "--node", node.name, "--queue", str(PACKET_QUEUE)),
            *("--kubeconfig", str(cluster.state / "policy-enforcer.kubeconfig")),
        ),
        after_api=True,
    )


def build_control_plane_processes(cluster: Cluster, components: str) -> list[Process]:
    """Return the additional processes of the first node."""
    return [
        Process(
            "etcd",
            (
                *(components, "etcd", "--data-dir", str(cluster.state / "etcd")),
                *("--listen-client-urls", ETCD_URL, "--advertise-client-urls", ETCD_URL),
                *("--listen-peer-urls", "http://127.0.0.1:2380", "--log-level", "warn"),
                # Nothing here must survive a power failure.
                "--unsafe-no-fsync",
            ),
        ),
        Process("kube-apiserver", (components, *build_api_server_arguments(cluster))),
        Process(
            "registry",
            (
                *(components, "registry", "--directory", str(cluster.registry)),
                *("--address", f"{cluster.api_address}:{REGISTRY_PORT}"),
            ),
        ),
        Process(
            "kube-controller-manager",
            (components, *build_controller_manager_arguments(cluster)),
            after_api=True,
        ),
        Process(
            "kube-scheduler",
            (
                *(components, "kube-scheduler", "--leader-elect=false", *CLIENT_RATE),
                *("--kubeconfig", str(cluster.state / "kube-scheduler.kubeconfig")),
            ),
            after_api=True,
        ),
        Process(
            "coredns",
            (components, "coredns", "-conf", str(cluster.state / "Corefile")),
            after_api=True,
        ),
        Process(
            "provisioner",
            (
                *(components, "provisioner", "--directory", str(cluster.volumes)),
                *("--kubeconfig", str(cluster.state / "provisioner.kubeconfig")),
            ),
            after_api=True,
        ),
    ]


def build_api_server_arguments(cluster: Cluster) -> tuple[str, ...]:
    """Return the API server's flags; the issuer's keys are at /openid/v1/jwks."""
    pki = cluster.certificates
    kubelet_client = pki / certificates.KUBELET_CLIENT.file
    return (
        *("kube-apiserver", "--etcd-servers", ETCD_URL),
        *("--bind-address", "0.0.0.0", "--secure-port", str(API_PORT)),  # noqa: S104 (its own network namespace)
        *("--advertise-address", cluster.api_address),
        *("--service-cluster-ip-range", str(SERVICES_RANGE)),
        *("--tls-cert-file", str(pki / "kube-apiserver.crt")),
        *("--tls-private-key-file", str(pki / "kube-apiserver.key")),
        *("--client-ca-file", str(pki / "ca.crt")),
        *("--kubelet-certificate-authority", str(pki / "ca.crt")),
        *("--kubelet-client-certificate", str(kubelet_client.with_suffix(".crt"))),
        *("--kubelet-client-key", str(kubelet_client.with_suffix(".key"))),
        *("--kubelet-preferred-address-types", "InternalIP"),
        *("--service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        *("--service-account-key-file", str(pki / "service-account.pub")),
        *("--service-account-signing-key-file", str(pki / "service-account.key")),
        *("--authorization-mode", "Node,RBAC"),
        *("--enable-admission-plugins", "NodeRestriction"),
        "--allow-privileged=true",
        *(build_audit_arguments(cluster) if cluster.audited else ()),
    )


def build_audit_arguments(cluster: Cluster) -> tuple[str, ...]:
    """Return the flags that write every request to one file before it is answered."""
    return (
        *("--audit-policy-file", str(cluster.audit_policy)),
        *("--audit-log-path", str(cluster.audit_log), "--audit-log-mode", "blocking"),
        *("--audit-log-maxsize", str(AUDIT_LOG_MIB)),
    )


def build_controller_manager_arguments(cluster: Cluster) -> tuple[str, ...]:
    """Return the controller manager's flags; a lost node is noticed after NODE_GRACE_S."""
    pki = cluster.certificates
    return (
        *("kube-controller-manager", "--leader-elect=false", *CLIENT_RATE),
        *("--kubeconfig", str(cluster.state / "kube-controller-manager.kubeconfig")),
        "--use-service-account-credentials=true",
        *("--root-ca-file", str(pki / "ca.crt")),
        *("--service-account-private-key-file", str(pki / "service-account.key")),
        *("--cluster-signing-cert-file", str(pki / "ca.crt")),
        *("--cluster-signing-key-file", str(pki / "ca.key")),
        *("--node-monitor-grace-period", f"{NODE_GRACE_S}s"),
    )
