"""Selects the cluster, kubectl, helm and the images: local ones, or the user's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sandbox.site.kube import Kube

IMAGES = ("operator", "trainer", "s3")
S3_IMAGE = "docker.io/versity/versitygw:v1.0.18"


class SandboxError(Exception):
    """The cluster, a tool or an image is missing; the message states what to do."""


@dataclass(frozen=True)
class Tools:
    """How to reach the cluster, and the images for it."""

    kubectl: tuple[str, ...]
    helm: tuple[str, ...]
    kubeconfig: Path | None
    images: Mapping[str, str]

    @classmethod
    def local(cls, name: str | None = None) -> Self:
        """Start the local cluster if it does not run, with images of this checkout."""
        driver = (sys.executable, "-m", "local_cluster")
        named = ("--name", name) if name else ()
        run([*driver, "up", *named])
        kubeconfig = run([*driver, "kubeconfig", *named]).strip()
        lines = run([*driver, "build-images", *named, *IMAGES]).splitlines()
        images = dict(line.split("=", 1) for line in lines if "=" in line)
        return cls(
            (*driver, "kubectl", *named), (*driver, "helm", *named), Path(kubeconfig), images
        )

    @classmethod
    def current(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Use kubectl's current context, and images that its cluster can pull."""
        missing = [tool for tool in ("kubectl", "helm") if shutil.which(tool) is None]
        if missing:
            raise SandboxError(f"CLUSTER=current needs {' and '.join(missing)} on the PATH")
        images = {name: environment.get(f"{name.upper()}_IMAGE", "") for name in IMAGES}
        images["s3"] = images["s3"] or S3_IMAGE
        missing = [f"{name.upper()}_IMAGE" for name, image in images.items() if not image]
        if missing:
            raise SandboxError(
                f"CLUSTER=current needs {' and '.join(missing)}: build the Dockerfile's targets, "
                "push them to a registry that the cluster pulls from, and give the references"
            )
        return cls(("kubectl",), ("helm",), None, images)

    @classmethod
    def current_without_images(cls) -> Self:
        """Use kubectl's current context, only to remove things."""
        return cls(("kubectl",), ("helm",), None, {})

    @staticmethod
    def is_local(environment: Mapping[str, str] = os.environ) -> bool:
        """Return whether CLUSTER is local (default) and not current.

        Raises:
            SandboxError: it has another value.
        """
        choice = environment.get("CLUSTER", "local")
        if choice not in ("local", "current"):
            raise SandboxError(f"expected CLUSTER=local or CLUSTER=current; received {choice!r}")
        return choice == "local"

    @classmethod
    def choose(cls, name: str | None = None) -> Self:
        """Return the tools for the environment variable CLUSTER: local (default) or current."""
        return cls.local(name) if cls.is_local() else cls.current()

    def connect(self) -> AbstractContextManager[Kube]:
        """Return a client for the cluster, to be entered."""
        return Kube.connect(self.kubeconfig)


def run(command: list[str]) -> str:
    """Run a program with its progress on the terminal; return its standard output.

    Raises:
        SandboxError: it failed.
    """
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own
    if done.returncode != 0:
        raise SandboxError(f"{' '.join(command)} failed with exit code {done.returncode}")
    return done.stdout
