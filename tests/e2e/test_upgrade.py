"""An upgrade from the last release, by chart and images: its trainings run on in their image."""

from collections.abc import Iterator

import pytest

from sandbox.site import installation
from sandbox.site.kube import phase
from sandbox.site.tools import Tools
from tests.support.cluster.released import CHART, released
from tests.support.cluster.site import OPERATOR_VALUES, Site, Workspace, newest_step

PODS = f"/api/v1/namespaces/{installation.NAMESPACE}/pods"
SELECTOR = f"?labelSelector=app.kubernetes.io/name={installation.RELEASE}"
ENDLESS = 10**6


@pytest.fixture
def before(site: Site) -> Iterator[Tools]:
    """Have the release installed instead of this checkout."""
    if not site.tools.is_local():
        pytest.skip("the release's images are built beside the local cluster's registry")
    tools = released(site.tools)
    installation.install(tools, *OPERATOR_VALUES, chart=CHART)
    yield tools
    installation.install(site.tools, *OPERATOR_VALUES)


def test_a_training_runs_on_under_the_new_operator_and_its_next_attempt_uses_the_old_image(
    site: Site, before: Tools, workspace: Workspace
) -> None:
    training = workspace.train("kept", steps=ENDLESS, checkpoints={"keepLast": 3})
    was = training.wait_for_checkpoint(40)
    jobs, pods = [job["metadata"]["uid"] for job in training.jobs], training.pods
    assert pods[0]["spec"]["containers"][0]["image"] == before.images["trainer"]

    [old] = [pod["metadata"]["name"] for pod in site.kube.items(PODS + SELECTOR)]
    # Its trainers know plain HTTP only, and so does the next attempt in the old image.
    installation.install(site.tools, *OPERATOR_VALUES, switches=("reports.plainHTTP=true",))
    # Until it ends, the old one refuses what the new schema's defaults add, and stops nothing.
    site.kube.wait(f"{PODS}/{old}", lambda found: found is None, what="the old operator is gone")
    reached = newest_step({"status": training.status})
    site.kube.wait(training.path, lambda found: phase(found or {}) == "Running", what="running")
    now = training.wait_for_checkpoint(reached + 40)
    assert [job["metadata"]["uid"] for job in training.jobs] == jobs
    assert [pod["metadata"]["uid"] for pod in training.pods] == [pods[0]["metadata"]["uid"]]
    assert (now["phase"], now["attemptCount"]) == ("Running", 1)
    assert now.get("interruptions", []) == []
    assert now["startTime"] == was["startTime"]

    training.kube.delete(training.pod_path)
    training.wait_for_attempt(2)
    resumed = training.wait(
        lambda found: "resumedFromStep" in found["status"]["interruptions"][0], "running on"
    )
    assert resumed["interruptions"][0]["stepsLost"] == 0
    image = training.pods[0]["spec"]["containers"][0]["image"]
    repository = before.images["trainer"].rpartition(":")[0]
    assert image in {before.images["trainer"], f"{repository}@{resumed['imageDigest']}"}
    assert resumed["image"] == before.images["trainer"]
    training.wait_for_checkpoint(newest_step({"status": resumed}) + 40)
