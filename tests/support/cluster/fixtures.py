"""Fixtures that need a cluster: the API server, a namespace, the CRD."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sandbox.site.crd import install_crd
from sandbox.site.kube import Kube
from sandbox.site.namespaces import restricted_namespace

CLUSTER_NAME = "test"


def local_cluster(*arguments: str, name: str = CLUSTER_NAME) -> str:
    """Run the local cluster's driver for a cluster of the tests' own; return what it prints."""
    command = [sys.executable, "-m", "local_cluster", *arguments, "--name", name]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"{' '.join(command)} failed with {done.returncode}"
    return done.stdout.strip()


@contextmanager
def running_cluster(name: str, *up: str) -> Iterator[Path | None]:
    """Give the kubeconfig of a local cluster; one that was not up is taken down again.

    It is brought up with the options `up`.

    `CLUSTER=current`: None, which means the user's own context.
    """
    if os.environ.get("CLUSTER", "local") == "current":
        yield None
        return
    was_up = name in local_cluster("list", name=name).split()
    local_cluster("up", *up, name=name)
    yield Path(local_cluster("kubeconfig", name=name))
    if not was_up:
        local_cluster("down", name=name)


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path | None]:
    """Return the kubeconfig of the tests' cluster."""
    with running_cluster(CLUSTER_NAME) as path:
        yield path


@pytest.fixture(scope="session")
def api(kubeconfig: Path | None) -> Iterator[Kube]:
    """Give a client for the tests' cluster."""
    with Kube.connect(kubeconfig) as kube:
        yield kube


@pytest.fixture(scope="session")
def crd(api: Kube) -> None:
    """Install the CustomResourceDefinition that the models generate."""
    install_crd(api)


@pytest.fixture
def kube(api: Kube, crd: None) -> Kube:
    """Return a client for a cluster that knows DetectionTraining."""
    del crd
    return api


@pytest.fixture
def namespace(api: Kube) -> Iterator[str]:
    """Make a namespace under the restricted Pod Security level; take it away afterwards."""
    with restricted_namespace(api, "t") as name:
        yield name
