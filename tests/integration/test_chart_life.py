"""Releases of the chart: what an uninstall deletes, and how another release adopts the CRD."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.samples.trainings import training
from sandbox.site.kube import NAMESPACES, TRAININGS, Kube
from tests.support.cluster.chart import CHART, Object, helm, kubectl
from tests.support.cluster.operator_fixtures import environment
from tests.support.cluster.running_operator import RunningOperator

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RELEASE = "op"
FULL_NAME = f"{RELEASE}-detection-operator"
OWN = {
    "lease": f"/apis/coordination.k8s.io/v1/namespaces/{{}}/leases/{FULL_NAME}",
    "secret": f"/api/v1/namespaces/{{}}/secrets/{FULL_NAME}-serving",
}


def install(release: str, namespace: str, *switches: str, **values: str) -> str:
    """Install a release that watches its own namespace; return its errors."""
    wanted = {"image.tag": "none", "watchNamespaces": f"{{{namespace}}}", **values}
    settings = [part for key, value in wanted.items() for part in ("--set", f"{key}={value}")]
    place = ("--namespace", namespace, *settings, *switches)
    return helm("upgrade", "--install", release, str(CHART), *place).stderr


def uninstall(release: str, namespace: str) -> None:
    done = helm("uninstall", release, "--namespace", namespace)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def other_namespace(api: Kube, namespace: str) -> Iterator[str]:
    name = f"{namespace}-b"
    api.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    api.delete(f"{NAMESPACES}/{name}")


def test_another_release_adopts_the_crd_and_its_trainings(
    kube: Kube, namespace: str, other_namespace: str
) -> None:
    assert "rror" not in install("a", namespace, "--take-ownership")
    trainings = TRAININGS.format(namespace=namespace)
    before = kube.create(trainings, training("trees"))
    uninstall("a", namespace)
    refused = install("b", other_namespace)
    assert "invalid ownership metadata" in refused
    assert 'current value is "a"' in refused
    # As docs/operations.md has it: with Helm 3.17 or newer, and with kubectl.
    assert "rror" not in install("b", other_namespace, "--take-ownership")
    assert owner_of_crd(kube) == ("b", other_namespace)
    uninstall("b", other_namespace)
    page = (CHART.parents[1] / "docs" / "operations.md").read_text()
    adopt(page, release="c", namespace=namespace)
    assert "rror" not in install("c", namespace)
    assert owner_of_crd(kube) == ("c", namespace)
    uninstall("c", namespace)
    after = kube.get(f"{trainings}/trees")
    assert (after["metadata"]["uid"], after["spec"]) == (before["metadata"]["uid"], before["spec"])


def adopt(page: str, release: str, namespace: str) -> None:
    """Run the page's two commands of kubectl for this release."""
    for verb in ("label", "annotate"):
        start = page.index(f"kubectl {verb} crd detectiontrainings.detectiontraining.dev")
        command = page[start : page.index("```", start)].replace("\\\n", " ").splitlines()[0]
        command = command.replace("=detection-operator", f"={release}")
        kubectl(*command.replace("=detection-system", f"={namespace}").split()[1:])


def owner_of_crd(kube: Kube) -> tuple[str, str]:
    annotations = kube.get(f"{CRDS}/detectiontrainings.detectiontraining.dev")["metadata"][
        "annotations"
    ]
    prefix = "meta.helm.sh/release-"
    return annotations[f"{prefix}name"], annotations[f"{prefix}namespace"]


def own_objects(kube: Kube, namespace: str) -> dict[str, Object]:
    return {kind: kube.get(path.format(namespace)) for kind, path in OWN.items()}


def settings(namespace: str, kubeconfig: Path | None, **more: str) -> dict[str, str]:
    return environment(
        namespace,
        kubeconfig,
        REPORT_URL="https://localhost",
        TLS_NAMESPACE=namespace,
        TLS_SECRET=f"{FULL_NAME}-serving",
        LEASE_NAMESPACE=namespace,
        LEASE_NAME=FULL_NAME,
        **more,
    )


def test_nothing_of_the_operator_is_left_after_uninstall(
    kube: Kube, namespace: str, kubeconfig: Path | None
) -> None:
    assert "rror" not in install(RELEASE, namespace, **{"crds.install": "false"})
    with RunningOperator(settings(namespace, kubeconfig)):
        before = wait_for_own_objects(kube, namespace, lambda found: found is not None)
        assert all("ownerReferences" not in found["metadata"] for found in before.values())
    with RunningOperator(settings(namespace, kubeconfig, SERVICE=FULL_NAME)) as operator:
        after = wait_for_own_objects(kube, namespace, has_owner)
        assert after["secret"]["data"] == before["secret"]["data"], "the certificate stays"
        # An upgrade changes neither of them.
        assert "rror" not in install(
            RELEASE, namespace, **{"crds.install": "false", "workers": "9"}
        )
        assert own_objects(kube, namespace)["secret"] == after["secret"]
        uninstall(RELEASE, namespace)
        # The process runs on, as a pod does for seconds: it may create its Lease again.
        for kind, path in OWN.items():
            kube.wait(path.format(namespace), is_another_than(after[kind]), what=f"no {kind}")
        operator.wait_until(lambda: operator_has_lease(kube, namespace), "it leads again")
    for path in OWN.values():
        kube.wait(path.format(namespace), lambda found: found is None, what="nothing is left")
    operator.wait_until(lambda: not leftovers(namespace), "nothing is left")


def wait_for_own_objects(
    kube: Kube, namespace: str, until: Callable[[Object | None], bool]
) -> dict[str, Object]:
    """Wait for what the operator creates for itself: it is ready before it has all of it."""
    for kind, path in OWN.items():
        kube.wait(path.format(namespace), until, what=f"the {kind} of the operator")
    return own_objects(kube, namespace)


def has_owner(found: Object | None) -> bool:
    return "ownerReferences" in (found or {"metadata": {}})["metadata"]


def operator_has_lease(kube: Kube, namespace: str) -> bool:
    return kube.find(OWN["lease"].format(namespace)) is not None


def is_another_than(before: Object) -> Callable[[Object | None], bool]:
    return lambda found: found is None or found["metadata"]["uid"] != before["metadata"]["uid"]


def leftovers(namespace: str) -> list[str]:
    """Return what of the release is in the namespace."""
    kinds = (
        "deployments,replicasets,pods,services,endpoints,serviceaccounts,secrets,configmaps,"
        "leases,roles,rolebindings,networkpolicies,poddisruptionbudgets"
    )
    found = kubectl("get", kinds, "--namespace", namespace, "--output", "name").split()
    return [name for name in found if FULL_NAME in name]
