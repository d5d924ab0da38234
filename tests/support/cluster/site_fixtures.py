"""Fixtures for tests that train in a real cluster, prepared once: a namespace for each test."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest

from sandbox.site import installation, object_store
from sandbox.site.kube import NAMESPACES, ApiError
from sandbox.site.tools import SandboxError, Tools, run
from tests.support.cluster.fixtures import CLUSTER_NAME
from tests.support.cluster.site import DATASET, OPERATOR_VALUES, S3_NAMESPACE, Site, Workspace
from tests.support.trainer.shapes import write_shapes


@pytest.fixture(scope="session")
def site(kubeconfig: Path | None) -> Iterator[Site]:
    """Prepare the cluster once."""
    del kubeconfig  # Keeps the cluster up for as long as the session lasts.
    tools = Tools.choose(CLUSTER_NAME)
    with tools.connect() as kube:
        try:
            kube.create(NAMESPACES, {"metadata": {"name": S3_NAMESPACE}})
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        object_store.deploy(kube, S3_NAMESPACE, tools.images["s3"])
        installation.install(tools, *OPERATOR_VALUES)
        with object_store.reach(tools, S3_NAMESPACE) as store:
            write_shapes(store.folder(DATASET))
            yield Site(tools, kube, store)
        # A cluster that was up before stays, and other operators may come.
        installation.uninstall(tools, kube)


@pytest.fixture
def workspace(site: Site, opened: list[Workspace]) -> Iterator[Workspace]:
    """Make a namespace for one test."""
    with opened_workspace(site, opened) as made:
        yield made


@pytest.fixture(scope="module")
def shared_workspace(site: Site, opened: list[Workspace]) -> Iterator[Workspace]:
    """Make a namespace for all tests of a file."""
    with opened_workspace(site, opened) as made:
        yield made


@pytest.fixture(scope="session")
def opened(request: pytest.FixtureRequest) -> list[Workspace]:
    """Return the open namespaces; the report of a failed test lists the content of the last."""
    return request.config.stash.setdefault(_OPENED, [])


@contextmanager
def opened_workspace(site: Site, opened: list[Workspace]) -> Iterator[Workspace]:
    """Make a namespace; meanwhile the report of a failed test lists its content."""
    with site.workspace() as made:
        opened.append(made)
        try:
            yield made
        finally:
            opened.remove(made)


_OPENED = pytest.StashKey[list[Workspace]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what is in the namespace to the report of a test that failed."""
    report = yield
    opened = item.config.stash.get(_OPENED, [])
    if report.failed and opened:
        report.sections.extend(_state(opened[-1]))
    return report


def _state(workspace: Workspace) -> Iterator[tuple[str, str]]:
    within, system = ["--namespace", workspace.namespace], ["--namespace", installation.NAMESPACE]
    for command in (
        ["get", "detectiontrainings", "--output=yaml", *within],
        ["get", "jobs,pods,events", *within],
        ["logs", *within, "--selector", "detectiontraining.dev/training", "--tail=40", "--prefix"],
        ["logs", *system, f"deployment/{installation.RELEASE}", "--tail=40"],
    ):
        try:
            yield f"kubectl {' '.join(command)}", run([*workspace.site.tools.kubectl, *command])
        except SandboxError as error:
            yield f"kubectl {' '.join(command)}", str(error)
