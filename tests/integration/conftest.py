"""A cluster of their own: end-to-end tests have an operator that watches all of theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster.fixtures import running_cluster


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[Path | None]:
    """Return the kubeconfig of the integration tests' cluster."""
    with running_cluster("integration", "--audit") as path:
        yield path
