"""Two watched namespaces: lost rights in one do not affect the other, also at the start."""

import json
import secrets
from collections.abc import Iterator

import pytest

from sandbox.faults.api_proxy import ApiProxy
from sandbox.site.kube import Kube
from tests.support.cluster.operator_fixtures import Scene, environment, report, saved
from tests.support.cluster.running_operator import RunningOperator

UNAVAILABLE = "detection_operator_unavailable_namespaces"


@pytest.fixture
def other(kube: Kube) -> Iterator[Scene]:
    """Return a second namespace."""
    name = f"t-{secrets.token_hex(4)}"
    kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield Scene(kube, name)
    kube.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def settings(scene: Scene, other: Scene, proxy: ApiProxy) -> dict[str, str]:
    """Return the settings of an operator that watches both, and lists again every second."""
    both = f"{scene.namespace},{other.namespace}"
    return environment(both, proxy.kubeconfig, RESYNC_S="1")


def test_a_namespace_that_is_deleted_does_not_affect_the_other(
    scene: Scene, other: Scene, proxy: ApiProxy, settings: dict[str, str]
) -> None:
    with RunningOperator(settings) as operator:
        other.apply("kept")
        other.wait_attempt(1, "kept")
        before = json.dumps(other.training("kept")["status"])
        proxy.forbidden = other.namespace
        proxy.interrupt_watches()
        operator.wait_until(lambda: operator.metric(UNAVAILABLE) == 1, "without a namespace")
        pod = scene.start(operator)
        body = report(50, 2, **saved(50))
        assert operator.report(scene.namespace, "trees", scene.token(pod), body)[0] == 200
        assert operator.get("/readyz")[0] == 200
        assert json.dumps(other.training("kept")["status"]) == before
        proxy.forbidden = ""
        operator.wait_until(lambda: operator.metric(UNAVAILABLE) == 0, "listing it again")
        other.apply("new")
        other.wait_attempt(1, "new")
        assert len(other.jobs()) == 2, "known Jobs are not created again"


def test_it_starts_without_a_namespace_and_watches_it_once_it_can(
    scene: Scene, other: Scene, proxy: ApiProxy, settings: dict[str, str]
) -> None:
    proxy.forbidden = other.namespace
    other.apply("waits")
    with RunningOperator(settings | {"DETECTION_OPERATOR_RESYNC_S": "3600"}) as operator:
        scene.apply()
        scene.wait_attempt(1)
        assert operator.metric(UNAVAILABLE) == 1
        assert other.jobs() == []
        proxy.forbidden = ""
        other.wait_attempt(1, "waits")
