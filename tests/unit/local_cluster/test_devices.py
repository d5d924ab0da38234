from local_cluster.devices import build_capacity_patch


def test_devices_are_offered_as_capacity() -> None:
    assert build_capacity_patch("nvidia.com/gpu", 4) == {
        "status": {"capacity": {"nvidia.com/gpu": "4"}}
    }
