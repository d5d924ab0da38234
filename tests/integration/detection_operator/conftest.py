"""What several tests of the operator on a real API server use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.faults.api_proxy import ApiProxy


@pytest.fixture
def proxy(kubeconfig: Path | None, tmp_path: Path) -> Iterator[ApiProxy]:
    """Give a proxy to the API server, which fails on request."""
    with ApiProxy(kubeconfig, tmp_path) as running:
        yield running
