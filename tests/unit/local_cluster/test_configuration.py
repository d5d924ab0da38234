import base64
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from local_cluster import configuration
from local_cluster.certificates import ADMINISTRATOR, Credentials
from local_cluster.topology import Cluster, Node

CLUSTER = Cluster("demo", 7, Path("/cache"))
NODE = Node(2)


def test_a_kubeconfig_needs_no_other_file() -> None:
    text = configuration.build_kubeconfig(
        CLUSTER, ADMINISTRATOR, Credentials(b"ca", b"crt", b"key")
    )
    content = json.loads(text)
    assert content["current-context"] == content["contexts"][0]["name"] == "demo"
    server = content["clusters"][0]["cluster"]
    assert server["server"] == "https://10.89.7.2:6443"
    assert base64.b64decode(server["certificate-authority-data"]) == b"ca"
    user = content["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]) == b"crt"
    assert base64.b64decode(user["client-key-data"]) == b"key"


def test_containerd_is_kept_to_the_cluster_s_folders() -> None:
    text = configuration.build_containerd(CLUSTER, NODE, Path("/cni"), "registry/pause:1")
    content = tomllib.loads(text)
    cri = content["plugins"]["io.containerd.grpc.v1.cri"]
    assert content["root"] == "/cache/image-stores/demo/node-2"
    assert cri["cni"] == {
        "bin_dir": "/cni",
        "conf_dir": "/cache/clusters/demo/nodes/node-2/cni",
    }
    assert cri["sandbox_image"] == "registry/pause:1"
    assert cri["restrict_oom_score_adj"] is True


def test_images_are_pulled_from_the_first_node() -> None:
    content = tomllib.loads(configuration.build_registry_hosts(CLUSTER))
    assert content["server"] == "http://10.89.7.2:5000"
    assert list(content["host"]) == [content["server"]]


def test_pods_get_addresses_of_their_node() -> None:
    plugin = json.loads(configuration.build_cni(NODE))["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.200.2.0/24"}]]


@pytest.fixture
def kubelet() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(configuration.build_kubelet(CLUSTER, NODE))
    return content


def test_the_kubelet_stays_below_the_cluster_s_control_group(kubelet: dict[str, Any]) -> None:
    assert kubelet["cgroupRoot"] == "/detection-training-cluster-demo/node-2"


def test_a_full_disk_deletes_no_local_image(kubelet: dict[str, Any]) -> None:
    assert kubelet["imageGCHighThresholdPercent"] == 100


def test_pods_ask_the_first_node_for_names(kubelet: dict[str, Any]) -> None:
    assert kubelet["clusterDNS"] == ["10.89.7.2"]
    assert "cluster.local" in configuration.build_corefile(CLUSTER)


def test_exactly_one_storage_class_is_the_default() -> None:
    annotation = "storageclass.kubernetes.io/is-default-class"
    classes = {
        content["metadata"]["name"]: content["metadata"]["annotations"][annotation]
        for content in configuration.build_storage_classes()
    }
    assert classes == {"local": "true", "shared": "false"}


def test_an_audit_logs_whole_trainings_and_no_secret() -> None:
    policy = configuration.build_audit_policy()
    *kept, rest = policy["rules"]
    assert rest == {"level": "None"}
    resources = [group for rule in kept for group in rule["resources"]]
    assert {"group": "detectiontraining.dev"} in resources
    assert "secrets" not in json.dumps(policy)
    assert all("get" not in rule["verbs"] for rule in kept)
