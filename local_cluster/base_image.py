"""The base image: Debian 12 with Python, laid out as the official python:slim images are.

The project's Dockerfile begins with BASE_IMAGE, by default the official image. Machines that reach
only package registries build this image instead: `python` and `pip` are on the path, and pip may
install into the system.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from local_cluster import machine, progress, shell
from local_cluster.cache import cache_directory, hash_inputs, locked, replaced_whole

NAME = "python"
# Increase it if _make_context produces a different result.
RECIPE_VERSION = "1"
SUITE = "bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
SOURCE_PATHS = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d"))
# Leftovers of debootstrap from this machine that no container reads.
REMOVED = (
    *("etc/hostname", "etc/resolv.conf", "var/log/bootstrap.log", "var/log/apt"),
    *("var/cache/apt", "var/lib/apt/lists", "debootstrap", "usr/share/doc", "usr/share/man"),
    *("usr/share/locale", "usr/lib/python3.11/EXTERNALLY-MANAGED", "dev"),
)
DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ENV LANG=C.UTF-8
CMD ["python"]
"""


def compute_tag() -> str:
    """Return the image's tag: the hash of what it is made from."""
    return hash_inputs(Path(), [], RECIPE_VERSION, SUITE, *PACKAGES, *REMOVED, DOCKERFILE)


def ensure_context() -> Path:
    """Return a folder with the Dockerfile and rootfs.tar; debootstrap makes missing ones."""
    context = cache_directory() / "contexts" / f"{NAME}-{compute_tag()}"
    if context.exists():
        return context
    machine.ensure_packages(machine.IMAGE_PACKAGES)
    with locked(cache_directory() / "locks" / "base-image"):
        if not context.exists():
            with replaced_whole(context) as building:
                _make_context(building)
    return context


def _make_context(directory: Path) -> None:
    root = directory / "rootfs"
    mirror = choose_mirror("\n".join(read_sources()))
    progress.run(
        [
            *("unshare", "--mount", "--propagation", "private", "debootstrap"),
            *("--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root, mirror),
        ],
        label="debootstrap the base image (once a machine, about a minute)",
        remedy="check the Debian mirror in /etc/apt (`apt-get update`), then run this again",
    )
    for name in REMOVED:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    (root / "dev").mkdir()
    (root / "etc/apt/sources.list").write_text(f"deb {DEFAULT_MIRROR} {SUITE} main\n")
    (root / "etc/pip.conf").touch()
    for link, target in (("python", "python3"), ("python3", "/usr/bin/python3")):
        (root / "usr/local/bin" / link).symlink_to(target)
    shell.capture(
        ["tar", "--create", "--numeric-owner", "--file", directory / "rootfs.tar", "-C", root, "."],
        check=True,
    )
    shutil.rmtree(root)
    (directory / "Dockerfile").write_text(DOCKERFILE)


def read_sources() -> list[str]:
    """Return the texts of this machine's package sources."""
    texts = []
    for path in SOURCE_PATHS:
        found = sorted(path.iterdir()) if path.is_dir() else [path]
        texts += [file.read_text() for file in found if file.is_file()]
    return texts


def choose_mirror(sources: str) -> str:
    """Return the Debian mirror that this machine uses, or the public one."""
    one_line = re.findall(r"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", sources, re.MULTILINE)
    blocks = re.findall(r"^URIs:\s*(\S+)\s*\nSuites:\s*(.*)$", sources, re.MULTILINE)
    for uri, suites in (*one_line, *blocks):
        if SUITE in suites.split() and uri.startswith(("http://", "https://")):
            return str(uri)
    return DEFAULT_MIRROR
