"""Two replicas: one may die and all may be upgraded under a training, which notices nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from sandbox.site import installation
from sandbox.site.kube import Kube, Object
from tests.support.cluster.site import OPERATOR_VALUES, LiveTraining, Site, Workspace, newest_step

SYSTEM = f"namespaces/{installation.NAMESPACE}"
LEASE = f"/apis/coordination.k8s.io/v1/{SYSTEM}/leases/{installation.RELEASE}"
PODS = f"/api/v1/{SYSTEM}/pods"
LABEL = f"app.kubernetes.io/name={installation.RELEASE}"
ENDLESS = 10**6


@pytest.fixture(scope="module")
def two_replicas(site: Site) -> Iterator[None]:
    installation.install(site.tools, *OPERATOR_VALUES, "replicas=2")
    yield
    installation.install(site.tools, *OPERATOR_VALUES)


@dataclass(frozen=True)
class Running:
    """A training under way, and the Job and pod that must stay as they are."""

    training: LiveTraining
    job_uids: list[str]
    pod_uids: list[str]

    @classmethod
    def of(cls, training: LiveTraining) -> "Running":
        return cls(training, uids(training.jobs), uids(training.pods))

    def require_untouched(self) -> Object:
        """Wait for progress beyond now; return the status, in which nothing was restarted."""
        reached = newest_step({"status": self.training.status})
        status = self.training.wait_for_checkpoint(reached + 40)
        assert uids(self.training.jobs) == self.job_uids
        assert uids(self.training.pods) == self.pod_uids
        assert status["phase"] == "Running"
        assert status["attemptCount"] == 1
        assert status.get("interruptions", []) == []
        return status


@pytest.fixture(scope="module")
def running(two_replicas: None, shared_workspace: Workspace) -> Running:
    del two_replicas
    training = shared_workspace.train("unmoved", steps=ENDLESS, checkpoints={"keepLast": 3})
    training.wait_for_checkpoint(40)
    return Running.of(training)


def test_a_leader_that_is_killed_is_replaced(running: Running) -> None:
    kube = running.training.kube
    leader = holder(kube.get(LEASE))
    kube.delete(f"{PODS}/{leader}", grace_s=0)
    running.require_untouched()
    kube.wait(LEASE, lambda found: holder(found) not in {"", leader}, what="another plans")
    running.require_untouched()


def test_a_rolling_upgrade_restarts_nothing_and_loses_no_report(running: Running) -> None:
    training = running.training
    before, logged = operators(training.kube), training.log
    image = before[0]["spec"]["containers"][0]["image"]
    digest = before[0]["status"]["containerStatuses"][0]["imageID"].partition("@")[2]
    tag = f"{image.rpartition(':')[2]}@{digest}" if digest else image.rpartition(":")[2]
    installation.install(
        training.workspace.site.tools,
        *OPERATOR_VALUES,
        "replicas=2",
        f"image.tag={tag}",
        "resyncSeconds=500",
    )
    now = operators(training.kube)
    assert not set(uids(now)) & set(uids(before))
    running.require_untouched()
    assert "reportsUnanswered" not in training.log.removeprefix(logged)
    assert holder(training.kube.get(LEASE)) in [pod["metadata"]["name"] for pod in now]
    # The new leader knows the training well enough to stop it.
    training.patch(suspend=True)
    status = training.wait_for_phase("Suspended")
    assert status["latestCheckpoint"]["step"] == status["step"]
    assert status["attemptCount"] == 1


def holder(lease: Object | None) -> str:
    spec = lease["spec"] if lease else {}
    return str(spec.get("holderIdentity") or "")


def operators(kube: Kube) -> list[Object]:
    found = kube.items(f"{PODS}?labelSelector={LABEL}")
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def uids(objects: list[Object]) -> list[str]:
    return sorted(found["metadata"]["uid"] for found in objects)
