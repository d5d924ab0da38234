"""The image registry: a folder in the cache that every cluster of the machine serves.

Builds push only layers that it lacks, and containerd pulls only layers that it lacks, so that a
changed source file costs one small layer and not the whole image.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from local_cluster.binaries import COMPONENTS, ensure_binary
from local_cluster.cache import cache_directory
from local_cluster.errors import ComponentError
from local_cluster.topology import REGISTRY_NAME, REGISTRY_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 15.0
POLL_S = 0.02
ADDRESS = f"127.0.0.1:{REGISTRY_PORT}"
# TCP_LISTEN of the kernel's include/net/tcp_states.h, as /proc shows it.
LISTENING = "0A"


def registry_directory() -> Path:
    """Return the folder of the registry."""
    return cache_directory() / "registry"


def build_reference(name: str, tag: str) -> str:
    """Return the image's reference for pods."""
    return f"{REGISTRY_NAME}/{name}:{tag}"


def has_image(name: str, tag: str) -> bool:
    """Return whether the registry has the image, from its folder."""
    repositories = registry_directory() / "docker" / "registry" / "v2" / "repositories"
    return (repositories / name / "_manifests" / "tags" / tag / "current" / "link").exists()


def list_images() -> list[str]:
    """Return the references of all images in the registry."""
    repositories = registry_directory() / "docker" / "registry" / "v2" / "repositories"
    return sorted(
        build_reference(tag.parents[2].relative_to(repositories).as_posix(), tag.name)
        for tag in repositories.glob("**/_manifests/tags/*")
    )


@contextlib.contextmanager
def served() -> Iterator[list[str]]:
    """Serve the registry at ADDRESS of a separate network namespace while the body runs.

    Yields the command prefix that runs a program in that namespace. The address must always be the
    same: buildah remembers by address which layers a registry has.
    """
    components = str(ensure_binary(COMPONENTS))
    process = subprocess.Popen(  # noqa: S603 (our own program)
        [
            *("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
            *(components, "registry", "--directory", str(registry_directory())),
            *("--address", ADDRESS),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until_open(process)
        yield ["nsenter", "--target", str(process.pid), "--net"]
    finally:
        process.kill()
        process.communicate()


def is_listening(table: str, port: int) -> bool:
    """Return whether /proc/…/net/tcp shows a listening socket at `port`."""
    rows = (line.split() for line in table.splitlines()[1:])
    return any(row[1].endswith(f":{port:04X}") and row[3] == LISTENING for row in rows)


def _wait_until_open(process: subprocess.Popen[str]) -> None:
    sockets = Path("/proc", str(process.pid), "net", "tcp")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            if is_listening(sockets.read_text(), REGISTRY_PORT):
                return
        time.sleep(POLL_S)
    process.kill()
    raise ComponentError(
        f"the image registry did not come up: {process.communicate()[1].strip()}",
        expected=f"it listening within {START_TIMEOUT_S:.0f} s",
        remedy="run this again; if it stays, remove the folder registry/ of the cache",
    )
