import ipaddress
from pathlib import Path

import pytest

from local_cluster import machine
from local_cluster.errors import LocalClusterError, MachineError, NetworkError

FILESYSTEMS = "nodev\ttmpfs\nnodev\tproc\nnodev\toverlay\n\text4\n"
NAMESPACES = {"mnt", "net", "pid", "ipc", "uts", "user"}


def test_every_error_has_what_was_found_and_expected_and_a_remedy() -> None:
    error = LocalClusterError("a flat tyre", expected="air", remedy="pump")
    assert str(error) == "a flat tyre\n  expected: air\n  what to do: pump"


def test_root_is_accepted_and_another_user_refused() -> None:
    machine.check_root(0)
    with pytest.raises(MachineError, match=r"user 1000\n.*root"):
        machine.check_root(1000)


@pytest.mark.parametrize(
    ("filesystems", "namespaces", "missing"),
    [
        (FILESYSTEMS.replace("overlay", "squashfs"), NAMESPACES, "file system overlay"),
        (FILESYSTEMS, NAMESPACES - {"pid"}, "namespace pid"),
    ],
)
def test_a_complete_kernel_is_accepted_and_another_is_refused_by_what_it_lacks(
    filesystems: str, namespaces: set[str], missing: str
) -> None:
    machine.check_kernel(FILESYSTEMS, NAMESPACES, "6.1")
    with pytest.raises(MachineError, match=f"6.1 lacks: {missing}"):
        machine.check_kernel(filesystems, namespaces, "6.1")


def test_a_full_disk_is_refused_with_both_sizes() -> None:
    machine.check_disk(2 * machine.GIB, 2 * machine.GIB, Path("/cache"))
    with pytest.raises(MachineError, match=r"1\.0 GiB are free below /cache\n  expected: 2\.0 GiB"):
        machine.check_disk(machine.GIB, 2 * machine.GIB, Path("/cache"))


@pytest.mark.parametrize(
    ("directory", "beside"),
    [
        ("/run/cache", "/runs/cache"),
        ("/var/lib/cache", "/var/cache"),
        ("/var/log", "/var/logs"),
        ("/sys/cache", "/home/ann/.cache"),
    ],
)
def test_a_cache_that_a_node_would_cover_is_refused_and_one_beside_it_is_accepted(
    directory: str, beside: str
) -> None:
    machine.check_cache_location(Path(beside))
    with pytest.raises(MachineError, match="DETECTION_TRAINING_CACHE"):
        machine.check_cache_location(Path(directory))


def test_version_1_control_groups_are_recognised_by_their_hierarchies(tmp_path: Path) -> None:
    for name in machine.CONTROLLERS[1]:
        (tmp_path / name).mkdir()
    assert machine.check_cgroups(tmp_path) == 1
    (tmp_path / "memory").rmdir()
    with pytest.raises(MachineError, match=r"version 1\) .* lack: memory"):
        machine.check_cgroups(tmp_path)


def test_version_2_control_groups_are_recognised_by_their_list(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    assert machine.check_cgroups(tmp_path) == 2
    (tmp_path / "cgroup.controllers").write_text("cpu io memory\n")
    with pytest.raises(MachineError, match=r"version 2\) .* lack: cpuset, pids"):
        machine.check_cgroups(tmp_path)


def test_a_machine_without_control_groups_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="lack: cpu"):
        machine.check_cgroups(tmp_path / "absent")


def test_default_routes_take_no_subnet() -> None:
    listing = '[{"dst":"default"},{"dst":"10.89.0.0/24","dev":"x"},{"dst":"192.0.2.1"}]'
    assert [str(network) for network in machine.parse_routes(listing)] == [
        "10.89.0.0/24",
        "192.0.2.1/32",
    ]
    assert machine.parse_routes("") == []


def test_a_subnet_in_use_is_refused_by_name() -> None:
    wanted = ipaddress.IPv4Network("10.89.0.0/24")
    machine.check_subnet_free(wanted, [ipaddress.IPv4Network("10.89.1.0/24")])
    with pytest.raises(NetworkError, match=r"10\.89\.0\.0/24 overlaps 10\.0\.0\.0/8"):
        machine.check_subnet_free(wanted, [ipaddress.IPv4Network("10.0.0.0/8")])


def test_only_what_is_missing_is_installed() -> None:
    assert machine.missing_packages({"sh": "dash"}) == []
    assert machine.missing_packages({"no-such-program": "a-package", "sh": "dash"}) == ["a-package"]
