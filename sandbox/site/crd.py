"""Installs the CustomResourceDefinition from the models, without the chart."""

from detection_operator.api.crd import build_crd
from sandbox.site.kube import CRDS, Kube, Object


def install_crd(kube: Kube, crd: Object | None = None) -> None:
    """Create or update the CustomResourceDefinition, and wait until it is established.

    Args:
        kube: the cluster.
        crd: another one than that of the models.
    """
    wanted = build_crd() if crd is None else crd
    path = f"{CRDS}/{wanted['metadata']['name']}"
    if found := kube.find(path):
        kube.request("PUT", path, {**found, "spec": wanted["spec"]})
    else:
        kube.create(CRDS, wanted)
    kube.wait(path, _is_established, what="the CustomResourceDefinition is established")


def _is_established(found: Object | None) -> bool:
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)
