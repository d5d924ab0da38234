"""The requirements on the machine, checked before anything is changed."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
from pathlib import Path

from local_cluster import progress, shell
from local_cluster.errors import MachineError, NetworkError

# Required program → Debian package that contains it.
RUNTIME_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "socat": "socat",
    "openssl": "openssl",
}
IMAGE_PACKAGES = {"buildah": "buildah", "debootstrap": "debootstrap"}
CNI_PACKAGE = "containernetworking-plugins"
CNI_DIRECTORIES = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
CNI_PROGRAMS = ("ptp", "host-local", "portmap", "loopback")
HIDDEN_FROM_CACHE = ("/run", "/var/log", "/var/lib", "/proc", "/sys", "/dev")
NEEDED_FILESYSTEMS = ("overlay", "tmpfs", "proc")
NEEDED_NAMESPACES = ("mnt", "net", "pid", "ipc", "uts")
CGROUP_ROOT = Path("/sys/fs/cgroup")
# By version of control groups; version 2 has the others built in.
CONTROLLERS = {
    1: ("cpu", "cpuset", "memory", "pids", "devices", "freezer"),
    2: ("cpu", "cpuset", "memory", "pids"),
}
GIB = 1 << 30
# The features that kube-proxy and the policy enforcer use, tried in a separate namespace.
PACKET_FILTER_TRIAL = """
iptables -t nat -A POSTROUTING -m comment --comment trial -m mark --mark 1 \\
    -m statistic --mode random --probability 0.5 -j MASQUERADE
iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
iptables -t mangle -A FORWARD -m conntrack --ctstate NEW \\
    -j NFQUEUE --queue-num 1 --queue-bypass
"""


def check_root(user_id: int) -> None:
    """Refuse a user other than root: only root may create namespaces, mounts and links."""
    if user_id != 0:
        raise MachineError(
            f"this runs as user {user_id}",
            expected="root (user 0), to make namespaces, mounts and a network link",
            remedy="run it with sudo, or use a cluster of yours with CLUSTER=current",
        )


def check_kernel(filesystems: str, namespaces: set[str], release: str) -> None:
    """Refuse a kernel without overlayfs or without one of the namespaces."""
    known = set(filesystems.split())
    missing = [f"file system {name}" for name in NEEDED_FILESYSTEMS if name not in known]
    missing += [f"namespace {name}" for name in NEEDED_NAMESPACES if name not in namespaces]
    if missing:
        raise MachineError(
            f"the kernel {release} lacks: {', '.join(missing)}",
            expected=f"file systems {', '.join(NEEDED_FILESYSTEMS)} (/proc/filesystems) and "
            f"namespaces {', '.join(NEEDED_NAMESPACES)} (/proc/self/ns)",
            remedy="load the module where it is one (`modprobe overlay`), or use another machine",
        )


def check_disk(free_bytes: int, needed_bytes: int, directory: Path) -> None:
    """Refuse a disk that would become full."""
    if free_bytes < needed_bytes:
        raise MachineError(
            f"{free_bytes / GIB:.1f} GiB are free below {directory}",
            expected=f"{needed_bytes / GIB:.1f} GiB",
            remedy="free some space, empty the cache (`python3 -m local_cluster prune`), "
            "or set DETECTION_TRAINING_CACHE to a folder on a larger disk",
        )


def check_packet_filter() -> None:
    """Refuse a kernel without the features of iptables for services, pod addresses and policies."""
    done = shell.capture(["unshare", "--net", "sh", "-ec", PACKET_FILTER_TRIAL])
    if done.returncode != 0:
        raise MachineError(
            f"iptables in a network namespace of its own failed: {done.stderr.strip()}",
            expected="the kernel's nat table with MASQUERADE, its mangle table with NFQUEUE, and "
            "the matches comment, mark, statistic and conntrack",
            remedy="load the modules (`modprobe -a nf_nat xt_MASQUERADE xt_comment xt_mark "
            "xt_statistic xt_conntrack xt_NFQUEUE nfnetlink_queue`), or choose the other back end "
            "(`update-alternatives --config iptables`)",
        )


def free_bytes(directory: Path) -> int:
    """Return the space left on the disk of `directory`."""
    return shutil.disk_usage(directory).free


def check_cache_location(directory: Path) -> None:
    """Refuse a cache folder that a node covers with its own mounts."""
    for hidden in HIDDEN_FROM_CACHE:
        if directory.is_relative_to(hidden):
            raise MachineError(
                f"the cache folder {directory} is below {hidden}",
                expected="a folder that is not below " + ", ".join(HIDDEN_FROM_CACHE),
                remedy="set DETECTION_TRAINING_CACHE to another folder",
            )


def check_cgroups(root: Path) -> int:
    """Return the version of control groups at `root`, refusing one that lacks a controller."""
    unified = root / "cgroup.controllers"
    version = 2 if unified.exists() else 1
    needed = CONTROLLERS[version]
    if version != 1:
        found = set(unified.read_text().split())
    else:
        found = {path.name for path in root.iterdir()} if root.is_dir() else set()
    missing = sorted(set(needed) - found)
    if missing:
        raise MachineError(
            f"control groups (version {version}) at {root} lack: {', '.join(missing)}",
            expected=f"the controllers {', '.join(needed)}",
            remedy="mount them, or enable them on the kernel's command line",
        )
    return version


def read_namespaces() -> set[str]:
    """Return the kinds of namespaces that this kernel has."""
    return {path.name for path in Path("/proc/self/ns").iterdir()}


def check_machine(cache: Path, needed_bytes: int) -> None:
    """Run every check that requires no installed package."""
    check_root(os.geteuid())
    check_cache_location(cache)
    if "overlay" not in Path("/proc/filesystems").read_text() and shutil.which("modprobe"):
        shell.capture(["modprobe", "overlay"])
    check_kernel(Path("/proc/filesystems").read_text(), read_namespaces(), os.uname().release)
    check_cgroups(CGROUP_ROOT)
    check_disk(free_bytes(cache), needed_bytes, cache)


def find_cni_programs() -> Path | None:
    """Return the folder of the machine's CNI plugins; None if there is none."""
    for directory in CNI_DIRECTORIES:
        if all((directory / name).exists() for name in CNI_PROGRAMS):
            return directory
    return None


def missing_packages(programs: dict[str, str]) -> list[str]:
    """Return the Debian packages for those of `programs` that are not on PATH."""
    missing = [package for name, package in programs.items() if not shutil.which(name)]
    if programs is RUNTIME_PACKAGES and find_cni_programs() is None:
        missing.append(CNI_PACKAGE)
    return missing


def ensure_packages(programs: dict[str, str]) -> None:
    """Install missing programs by apt; existing ones are used as they are."""
    packages = missing_packages(programs)
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise MachineError(
            f"missing: {', '.join(packages)}, and this machine has no apt-get",
            expected="Debian or Ubuntu, or these programs installed",
            remedy="install them by the machine's own package manager",
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    remedy = "check the package sources (`apt-get update`), then run this again"
    progress.run(
        ["apt-get", "update", "-qq"], label="apt-get update", remedy=remedy, env=environment
    )
    progress.run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
        label=f"apt-get install {' '.join(packages)}",
        remedy=remedy,
        env=environment,
    )


def read_routes() -> list[ipaddress.IPv4Network]:
    """Return the destinations of the machine's IPv4 routes, except default routes."""
    listing = ["ip", "-json", "-4", "route", "show", "table", "all"]
    return parse_routes(shell.capture(listing, check=True).stdout)


def parse_routes(text: str) -> list[ipaddress.IPv4Network]:
    """Return the networks in the output of `ip -json route`."""
    destinations = (route["dst"] for route in json.loads(text or "[]"))
    networks = (ipaddress.IPv4Network(dst) for dst in destinations if dst != "default")
    return [network for network in networks if network.prefixlen > 0]


def check_subnet_free(wanted: ipaddress.IPv4Network, taken: list[ipaddress.IPv4Network]) -> None:
    """Refuse a subnet that a route of this machine overlaps."""
    overlapping = [str(network) for network in taken if network.overlaps(wanted)]
    if overlapping:
        raise NetworkError(
            f"{wanted} overlaps {', '.join(overlapping)}, which this machine already routes",
            expected="a network that is free",
            remedy="leave --subnet out (a free one is chosen), or name another",
        )
