"""An uninstalled release leaves nothing behind but the CRD and what belongs to trainings."""

import secrets

from sandbox.site.kube import NAMESPACES
from sandbox.site.tools import run
from tests.support.cluster.chart import CHART
from tests.support.cluster.site import Site

RELEASE = "second"
FULL_NAME = f"{RELEASE}-detection-operator"
CRD = "crd/detectiontrainings.detectiontraining.dev"
KINDS = (
    "deployments,replicasets,pods,services,serviceaccounts,secrets,configmaps,leases,roles,"
    "rolebindings,networkpolicies,poddisruptionbudgets"
)


def test_nothing_of_the_operator_is_left_after_uninstall(site: Site) -> None:
    kubectl, helm = site.tools.kubectl, site.tools.helm
    namespace = f"e2e-{secrets.token_hex(4)}"
    image, _, tag = site.tools.images["operator"].rpartition(":")
    values = (
        f"image.repository={image}",
        f"image.tag={tag}",
        f"watchNamespaces={{{namespace}}}",
        "replicas=2",
        "crds.install=false",
    )
    site.kube.create(NAMESPACES, {"metadata": {"name": namespace}})
    run([
        *helm, "install", RELEASE, str(CHART), "--namespace", namespace, "--wait",
        *(part for value in values for part in ("--set", value)),
    ])  # fmt: skip
    lease = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{FULL_NAME}"
    secret = f"/api/v1/namespaces/{namespace}/secrets/{FULL_NAME}-serving"
    for path in (lease, secret):
        [owner] = site.kube.get(path)["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"]) == ("Service", FULL_NAME)
    crd = run([*kubectl, "get", CRD, "--output", "jsonpath={.metadata.uid}"])
    run([*helm, "uninstall", RELEASE, "--namespace", namespace])
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for pod in site.kube.items(pods):
        path = f"{pods}/{pod['metadata']['name']}"
        site.kube.wait(path, lambda found: found is None, what="the operator's pods end")
    for path in (lease, secret):
        site.kube.wait(path, lambda found: found is None, what="nothing is left")
    everything = run([*kubectl, "get", KINDS, "--namespace", namespace, "--output", "name"])
    assert [name for name in everything.split() if RELEASE in name] == []
    cluster_wide = run([*kubectl, "get", "clusterroles,clusterrolebindings", "--output", "name"])
    assert [name for name in cluster_wide.split() if FULL_NAME in name] == []
    assert run([*kubectl, "get", CRD, "--output", "jsonpath={.metadata.uid}"]) == crd
    site.kube.delete(f"{NAMESPACES}/{namespace}")
