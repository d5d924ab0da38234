"""Integration tests have their own cluster: the operator of the end-to-end tests watches theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.fixtures import running_cluster


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path | None]:
    """Return the kubeconfig of the integration tests' cluster."""
    with running_cluster("integration", "--audit") as path:
        yield path
