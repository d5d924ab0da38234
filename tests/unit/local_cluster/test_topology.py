import ipaddress
from pathlib import Path

import pytest

from local_cluster.errors import ClusterStateError, NetworkError
from local_cluster.topology import (
    Cluster,
    Node,
    check_name,
    choose_subnet,
    choose_subnet_index,
    node_named,
)

CLUSTER = Cluster("demo", 7, Path("/cache"))


def test_addresses_follow_from_the_subnet_s_index() -> None:
    assert str(CLUSTER.subnet) == "10.89.7.0/24"
    assert CLUSTER.host_address == "10.89.7.1"
    assert CLUSTER.api_url == "https://10.89.7.2:6443"
    assert CLUSTER.node_address(Node(2)) == "10.89.7.3"


def test_the_host_s_interface_name_fits_the_kernel_s_15_characters() -> None:
    assert len(Cluster("x" * 40, 255, Path("/cache")).host_link) <= 15


def test_each_node_has_pod_addresses_of_its_own() -> None:
    assert str(Node(1).pods_range) == "10.200.1.0/24"
    assert str(Node(200).pods_range) == "10.200.200.0/24"


def test_images_are_kept_apart_from_what_ends_with_the_cluster() -> None:
    assert not CLUSTER.image_store(Node(1)).is_relative_to(CLUSTER.state)


def test_the_first_free_subnet_is_chosen() -> None:
    taken = [choose_subnet(0), ipaddress.IPv4Network("10.89.1.128/25")]
    assert choose_subnet_index([]) == 0
    assert choose_subnet_index(taken) == 2


def test_a_machine_that_routes_the_whole_range_is_refused() -> None:
    with pytest.raises(NetworkError, match="overlaps a route"):
        choose_subnet_index([ipaddress.IPv4Network("10.0.0.0/8")])


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("", "a"),
        ("-a", "a-a"),
        ("a-", "my-cluster-2"),
        ("A", "demo"),
        ("a/b", "ab"),
        ("..", "b"),
        ("x" * 41, "x" * 40),
        ("a\n", "a"),
    ],
)
def test_a_name_that_is_no_folder_is_refused_and_one_beside_it_is_accepted(
    name: str, beside: str
) -> None:
    check_name(beside)
    with pytest.raises(ClusterStateError, match="cluster name"):
        check_name(name)


def test_a_node_is_found_by_its_name() -> None:
    assert node_named("node-12") == Node(12)
    assert Node(1).is_control_plane
    assert not node_named("node-2").is_control_plane


@pytest.mark.parametrize("name", ["node-0", "node-201", "node", "2", "node-2/..", "node-02"])
def test_a_name_of_no_node_is_refused(name: str) -> None:
    with pytest.raises(ClusterStateError, match="node name"):
        node_named(name)
