"""The content of every configuration file of the cluster: pure; lifecycle.py writes the files.

JSON is YAML, so files that Kubernetes reads as YAML are written as JSON.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from local_cluster.topology import (
    REGISTRY_PORT,
    Cluster,
    Node,
)

if TYPE_CHECKING:
    from pathlib import Path

    from local_cluster.certificates import Credentials, Identity

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CLUSTER_DOMAIN = "cluster.local"
NODE_LEASE_S = 20


def to_json(content: Any) -> str:
    """Return `content` as indented JSON."""
    return json.dumps(content, indent=2) + "\n"


def build_kubeconfig(cluster: Cluster, identity: Identity, credentials: Credentials) -> str:
    """Return a kubeconfig of `identity` that needs no other file."""
    server = {
        "server": cluster.api_url,
        "certificate-authority-data": to_base64(credentials.authority),
    }
    user = {
        "client-certificate-data": to_base64(credentials.certificate),
        "client-key-data": to_base64(credentials.key),
    }
    return to_json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": cluster.name,
            "clusters": [{"name": cluster.name, "cluster": server}],
            "users": [{"name": identity.user, "user": user}],
            "contexts": [
                {
                    "name": cluster.name,
                    "context": {"cluster": cluster.name, "user": identity.user},
                }
            ],
        }
    )


def to_base64(content: bytes) -> str:
    """Return `content` as kubeconfig files store it."""
    return base64.b64encode(content).decode()


def build_containerd(cluster: Cluster, node: Node, cni_programs: Path, pause_image: str) -> str:
    """Return containerd's configuration.

    restrict_oom_score_adj: without it runc may not lower a sandbox's score inside nested process
    namespaces, and every sandbox ends. discard_unpacked_layers: the registry beside it still has
    them.
    """
    state = cluster.node_state(node)
    return f"""\
version = 2
root = "{cluster.image_store(node)}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  restrict_oom_score_adj = true
  disable_tcp_service = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_programs}"
    conf_dir = "{state / "cni"}"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    discard_unpacked_layers = true

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{state / "registries"}"
"""


def build_registry_hosts(cluster: Cluster) -> str:
    """Return where containerd finds images named REGISTRY_NAME/…: on the first node."""
    url = f"http://{cluster.api_address}:{REGISTRY_PORT}"
    return f"""\
server = "{url}"

[host."{url}"]
  capabilities = ["pull", "resolve"]
"""


def build_cni(node: Node) -> str:
    """Return the pod network: a point-to-point link for each pod, routed by its node.

    Not a bridge: traffic from a pod to a service on its own node would then need the kernel module
    br_netfilter.
    """
    return to_json(
        {
            "cniVersion": "0.4.0",
            "name": "pods",
            "plugins": [
                {
                    "type": "ptp",
                    "ipam": {
                        "type": "host-local",
                        "ranges": [[{"subnet": str(node.pods_range)}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                },
                {"type": "portmap", "capabilities": {"portMappings": True}},
            ],
        }
    )


def build_kubelet(cluster: Cluster, node: Node) -> str:
    """Return the kubelet's configuration.

    Image garbage collection is off: it would remove locally built images on a disk that is more
    than 85% full.
    """
    state, certificates = cluster.node_state(node), cluster.certificates
    return to_json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(certificates / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(certificates / f"kubelet-{node.name}.crt"),
            "tlsPrivateKeyFile": str(certificates / f"kubelet-{node.name}.key"),
            "clusterDNS": [cluster.api_address],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(state / "resolv.conf"),
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{cluster.cgroup}/{node.name}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "evictionHard": {
                "memory.available": "100Mi",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "maxPods": 200,
            "nodeLeaseDurationSeconds": NODE_LEASE_S,
            "nodeStatusUpdateFrequency": f"{NODE_LEASE_S // 4}s",
            "podLogsDir": str(state / "pod-logs"),
            "volumePluginDir": str(state / "volume-plugins"),
            "serializeImagePulls": False,
        }
    )


def build_corefile(cluster: Cluster) -> str:
    """Return CoreDNS' configuration: only the cluster's names, since nothing else is reachable."""
    return f"""\
{CLUSTER_DOMAIN} in-addr.arpa {{
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {cluster.state / "coredns.kubeconfig"}
        pods verified
        ttl 1
    }}
}}
"""


def build_audit_policy() -> dict[str, Any]:
    """Return the audit policy: each write to trainings, Jobs and related objects is logged.

    Whole objects are logged only if they show the state of a training; reads and watches never.
    """
    whole = [
        {"group": "detectiontraining.dev"},
        {"group": "batch", "resources": ["jobs", "jobs/status"]},
        {"group": "", "resources": ["pods", "pods/status"]},
    ]
    named = [{"group": "", "resources": ["events", "persistentvolumeclaims"]}]
    writes = ["create", "update", "patch", "delete", "deletecollection"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "omitManagedFields": True,
        "rules": [
            {"level": "RequestResponse", "verbs": writes, "resources": whole},
            {"level": "Metadata", "verbs": writes, "resources": named},
            {"level": "None"},
        ],
    }


def build_storage_classes() -> list[dict[str, Any]]:
    """Return the storage classes that claims can name; the first is the default."""
    return [
        _storage_class("local", shared=False, is_default=True),
        _storage_class("shared", shared=True, is_default=False),
    ]


def _storage_class(name: str, *, shared: bool, is_default: bool) -> dict[str, Any]:
    annotation = "storageclass.kubernetes.io/is-default-class"
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {annotation: str(is_default).lower()}},
        "provisioner": "local-cluster/volumes",
        "parameters": {"shared": str(shared).lower()},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate" if shared else "WaitForFirstConsumer",
    }
