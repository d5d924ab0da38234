"""This machine's pip settings, lent to image builds and kept out of images.

A build sees the machine's certificates and a pip.conf through mounts, so neither the image nor the
repository ever contains an address of this machine.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from local_cluster import shell

if TYPE_CHECKING:
    from collections.abc import Iterator

CERTIFICATES = Path("/etc/ssl/certs")
LENT_SETTINGS = frozenset(
    {
        *("index-url", "extra-index-url", "trusted-host", "proxy"),
        *("default-timeout", "timeout", "retries"),
    }
)


def parse_settings(listing: str) -> dict[str, str]:
    """Return the settings to lend from the output of `pip config list`; the environment wins."""
    settings: dict[str, str] = {}
    for line in listing.splitlines():
        key, separator, value = line.partition("=")
        name = key.rpartition(".")[2]
        if (
            separator
            and name in LENT_SETTINGS
            and (name not in settings or key.startswith(":env:"))
        ):
            settings[name] = value.strip().strip("'\"")
    return settings


def build_pip_conf(settings: dict[str, str]) -> str:
    """Return a pip.conf with `settings` and the lent certificates."""
    lines = ["[global]", f"cert = {CERTIFICATES / 'ca-certificates.crt'}"]
    lines += [f"{name} = {value}" for name, value in sorted(settings.items())]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def mounted() -> Iterator[list[str]]:
    """Yield buildah's options that lend the settings while the body runs."""
    done = shell.capture([sys.executable, "-m", "pip", "config", "list"])
    with tempfile.TemporaryDirectory(prefix="pip-settings-") as directory:
        path = Path(directory, "pip.conf")
        path.touch(mode=0o600)
        path.write_text(build_pip_conf(parse_settings(done.stdout)))
        yield [
            *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
            *("--volume", f"{path}:/etc/pip.conf:ro"),
        ]
