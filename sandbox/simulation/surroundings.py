"""A cluster with fake nodes, the operator as a process, and connections to both."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from local_cluster import lifecycle
from local_cluster.topology import Cluster
from sandbox.processes.operator_process import OperatorProcess
from sandbox.simulation.fake_nodes import PODS_A_NODE, fake_nodes
from sandbox.simulation.pod_tokens import TokenSigner
from sandbox.site.crd import install_crd
from sandbox.site.kube import NAMESPACES, ApiError, AsyncKube, Kube

OPERATED, BARE = "bench-operated", "bench-bare"
SPARE_NODES = 1
SWEEP_S = 300.0


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One cluster, and the programs that use it."""

    cluster: Cluster
    kube: Kube
    client: AsyncKube
    operator: OperatorProcess
    signer: TokenSigner


def fresh_cluster(name: str, *, audited: bool = False) -> Cluster:
    """Return a new cluster."""
    lifecycle.down(name)
    return lifecycle.up(name, audited=audited).cluster


@asynccontextmanager
async def surroundings(
    cluster: Cluster, folder: Path, trainings: int, settings: dict[str, str]
) -> AsyncIterator[Surroundings]:
    """Prepare a cluster for `trainings` pods; the operator is not started yet."""
    nodes = trainings // int(PODS_A_NODE) + SPARE_NODES
    operator = OperatorProcess(
        cluster.kubeconfig, folder / "operator.log", {"NAMESPACES": OPERATED, **settings}
    )
    with Kube.connect(cluster.kubeconfig) as kube:
        install_crd(kube)
        for name in (OPERATED, BARE):
            _make_namespace(kube, name)
        signer = TokenSigner.of(kube, cluster.certificates)
        with fake_nodes(kube, cluster.kubeconfig, nodes, folder):
            async with AsyncKube.open(cluster.kubeconfig) as client:
                try:
                    yield Surroundings(cluster, kube, client, operator, signer)
                finally:
                    operator.kill()


def replica(here: Surroundings, number: int) -> OperatorProcess:
    """Return replica `number`, not started yet; the replicas elect a leader by a Lease."""
    own = {"LEASE_NAMESPACE": OPERATED, "IDENTITY": f"replica-{number}"}
    log = here.operator.log.with_name(f"replica-{number}.log")
    return OperatorProcess(here.operator.kubeconfig, log, here.operator.settings | own)


def sweep(here: Surroundings) -> None:
    """Delete the namespaces while the fake nodes still end their pods."""
    here.operator.kill()
    for name in (OPERATED, BARE):
        here.kube.delete(f"{NAMESPACES}/{name}")
    for name in (OPERATED, BARE):
        here.kube.wait(
            f"{NAMESPACES}/{name}", lambda found: found is None, what="gone", timeout_s=SWEEP_S
        )


def _make_namespace(kube: Kube, name: str) -> None:
    """Create a namespace; if an earlier run still deletes it, wait for that."""
    path = f"{NAMESPACES}/{name}"
    kube.wait(path, lambda found: found is None or not _is_going(found), what="a free namespace")
    try:
        kube.create(NAMESPACES, {"metadata": {"name": name}})
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
    kube.wait(
        f"{path}/serviceaccounts/default",
        lambda found: found is not None,
        what="the namespace's service account",
    )


def _is_going(found: dict[str, object]) -> bool:
    metadata = found["metadata"]
    return isinstance(metadata, dict) and "deletionTimestamp" in metadata
