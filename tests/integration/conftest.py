"""A cluster of their own: end-to-end tests have an operator that watches all of theirs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.fixtures import local_cluster

CLUSTER_NAME = "integration"


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path | None]:
    """Return the kubeconfig of the cluster; one that was not up is taken down again.

    `CLUSTER=current`: None, which stands for the user's own context.
    """
    if os.environ.get("CLUSTER", "local") == "current":
        yield None
        return
    was_up = CLUSTER_NAME in local_cluster("list", name=CLUSTER_NAME).split()
    local_cluster("up", name=CLUSTER_NAME)
    yield Path(local_cluster("kubeconfig", name=CLUSTER_NAME))
    if not was_up:
        local_cluster("down", name=CLUSTER_NAME)
