"""The image registry: a folder in the cache that every cluster of the machine serves.

Builds push only layers that it lacks, and containerd pulls only layers that it lacks,
so that a changed source file costs a layer of its size and not the whole image.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING

from local_cluster.binaries import COMPONENTS, ensure_binary
from local_cluster.cache import cache_directory
from local_cluster.errors import ComponentError
from local_cluster.topology import REGISTRY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_TIMEOUT_S = 15.0
POLL_S = 0.02


def registry_directory() -> Path:
    """Return the folder of the registry."""
    return cache_directory() / "registry"


def build_reference(name: str, tag: str) -> str:
    """Return what a pod calls the image."""
    return f"{REGISTRY_NAME}/{name}:{tag}"


def has_image(name: str, tag: str) -> bool:
    """Return whether the registry holds the image, read from its folder."""
    repositories = registry_directory() / "docker" / "registry" / "v2" / "repositories"
    return (repositories / name / "_manifests" / "tags" / tag / "current" / "link").exists()


def list_images() -> list[str]:
    """Return the references of all images in the registry."""
    repositories = registry_directory() / "docker" / "registry" / "v2" / "repositories"
    return sorted(
        build_reference(tag.parents[2].relative_to(repositories).as_posix(), tag.name)
        for tag in repositories.glob("**/_manifests/tags/*")
    )


def choose_free_port() -> int:
    """Return a port of the loopback address that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def served() -> Iterator[str]:
    """Serve the registry on the loopback address while the body runs; yield its address."""
    address = f"127.0.0.1:{choose_free_port()}"
    components = ensure_binary(COMPONENTS)
    process = subprocess.Popen(
        [components, "registry", "--directory", registry_directory(), "--address", address],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until_open(process, address)
        yield address
    finally:
        process.kill()
        process.communicate()


def _wait_until_open(process: subprocess.Popen[str], address: str) -> None:
    host, _, port = address.partition(":")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(POLL_S)
    process.kill()
    raise ComponentError(
        f"the image registry on {address} did not come up: {process.communicate()[1].strip()}",
        expected=f"it listening within {START_TIMEOUT_S:.0f} s",
        remedy="run this again; if it stays, remove the folder registry/ of the cache",
    )
