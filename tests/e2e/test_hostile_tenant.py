"""A user of one namespace, with the `edit` role, attacks: nothing of another namespace changes.

All attacks run while a training of another namespace trains. It starts before them, and completes
after them as if they had not been.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from detection_operator import names
from detection_trainer.contract.runtime import REPORT_AUDIENCE, REPORT_PATH
from sandbox.attacks.hostile_pod import Hostile
from sandbox.attacks.tenant import (
    SERVICE_ACCOUNT,
    TEMPLATES,
    Tenant,
    enroll,
    hostile_training,
    token_of,
)
from sandbox.site.installation import NAMESPACE, RELEASE
from sandbox.site.kube import NAMESPACES, TRAININGS, ApiError, Object, condition
from sandbox.site.tools import Tools, run
from tests.support.cluster.site import LiveTraining, Site, Workspace

STEPS = 2000
"""Of the victim: enough to train during all attacks."""
FORGED_STEP = 77_777
COUNTED, READ = "detection_operator_api_requests_total{", 'verb="get"'


@dataclass(frozen=True)
class Mallory:
    """A user with the `edit` role in one namespace, and nothing elsewhere."""

    workspace: Workspace
    tenant: Tenant

    @property
    def namespace(self) -> str:
        return self.workspace.namespace

    def document(self, name: str, **spec: Any) -> Object:
        return self.workspace.document(name, **spec)

    def create(self, document: Object | bytes) -> Object | None:
        return self.tenant.create(document)


@pytest.fixture(scope="module")
def victim(shared_workspace: Workspace) -> LiveTraining:
    """Train what every attack is aimed at."""
    found = shared_workspace.train("victim", steps=STEPS)
    found.wait_for_checkpoint(0)
    return found


@pytest.fixture(scope="module")
def mallory(site: Site, victim: LiveTraining) -> Iterator[Mallory]:
    """Give a namespace to the attacker, once the victim trains."""
    del victim
    with (
        site.workspace() as workspace,
        enroll(site.tools, site.kube, workspace.namespace) as tenant,
    ):
        yield Mallory(workspace, tenant)


@pytest.fixture(scope="module")
def hostile(mallory: Mallory, victim: LiveTraining) -> Hostile:
    """Run a pod that poses as a trainer of the victim, with a token for the right audience."""
    uid = victim.kube.get(victim.path)["metadata"]["uid"]
    labels = {names.LABEL_TRAINING: "victim", names.LABEL_TRAINING_UID: uid}
    labels |= {names.LABEL_ATTEMPT: "1", names.LABEL_ROLE: names.ROLE_TRAINER}
    pod = Hostile(mallory.tenant, REPORT_AUDIENCE)
    return pod.start(labels)


@pytest.fixture
def undisturbed(site: Site, victim: LiveTraining) -> Iterator[None]:
    """Check that an attack restarts no operator, and that others are still served after it."""
    before = restarts(site)
    yield
    assert restarts(site) == before, "the operator was restarted"
    witness = victim.workspace.train(f"witness-{secrets.token_hex(3)}", suspend=True)
    witness.wait_for_phase("Suspended", timeout_s=60)


def restarts(site: Site) -> dict[str, int]:
    """Return the restarts of each operator pod, without those that an earlier test scaled away."""
    path = f"{NAMESPACES}/{NAMESPACE}/pods?labelSelector=app.kubernetes.io/instance={RELEASE}"
    return {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"])
        for pod in site.kube.items(path)
        if "deletionTimestamp" not in pod["metadata"]
    }


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("what", TEMPLATES)
def test_an_object_of_any_shape_disturbs_no_other_training(mallory: Mallory, what: str) -> None:
    mallory.create(hostile_training(f"odd-{sorted(TEMPLATES).index(what)}", what))


@pytest.mark.usefixtures("undisturbed")
def test_a_user_with_edit_cannot_write_a_status(mallory: Mallory) -> None:
    mallory.create(mallory.document("status", suspend=True))
    path = f"{TRAININGS.format(namespace=mallory.namespace)}/status/status"
    with pytest.raises(ApiError) as refused:
        mallory.tenant.kube.patch(path, {"status": {"startTime": "0000-01-01T00:00:00Z"}})
    assert refused.value.status == 403


def report(step: int, **more: Any) -> Object:
    """Return a report that would complete the victim, were it believed."""
    return {
        "attempt": 1,
        "sequence": 1_000_000,
        "time": "2026-11-28T10:00:00Z",
        "step": step,
        "targetSteps": STEPS,
        "resumedFromStep": 0,
        "outcome": {"exitCode": 0, "reason": "Completed", "message": "forged"},
        **more,
    }


def path_to(namespace: str, name: str) -> str:
    return REPORT_PATH.format(namespace=namespace, name=name)


@pytest.mark.usefixtures("undisturbed")
def test_a_report_for_a_training_of_another_namespace_is_refused(
    hostile: Hostile, victim: LiveTraining
) -> None:
    answer = hostile.post(path_to(victim.workspace.namespace, "victim"), report(FORGED_STEP))
    assert answer.status in {401, 403, 404}, answer
    assert victim.status["step"] < FORGED_STEP


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize(
    "name",
    ["..%2F..%2F..%2Fapi%2Fv1%2Fsecrets", "victim%3Fwatch=1", "a%00b", "..", "x" * 4000],
)
def test_a_name_is_no_path(hostile: Hostile, name: str) -> None:
    answer = hostile.post(path_to(hostile.namespace, name), report(1))
    assert 400 <= answer.status < 500, answer
    assert "kind" not in answer.body
    assert "items" not in answer.body


@pytest.mark.usefixtures("undisturbed")
def test_a_pod_that_is_no_trainer_costs_the_api_server_nothing(
    hostile: Hostile, site: Site, metrics_token: str
) -> None:
    before = api_reads(site, metrics_token)
    answers = hostile.post_many(path_to(hostile.namespace, "nobody"), report(1), count=400)
    assert not [answer for answer in answers if 0 < answer.status < 400]
    assert api_reads(site, metrics_token) - before < 60, "each report was looked up"


@pytest.mark.usefixtures("undisturbed")
@pytest.mark.parametrize("flood", ["half_open", "large_headers", "slow_body"])
def test_a_flood_of_connections_disturbs_no_other_training(hostile: Hostile, flood: str) -> None:
    flooded = hostile.flood(flood, connections=600, seconds=8)
    assert flooded["opened"] > 0


@pytest.mark.skipif(not Tools.is_local(), reason="another cluster may enforce no NetworkPolicy")
def test_a_pod_that_is_no_trainer_reaches_no_port(mallory: Mallory) -> None:
    bystander = Hostile(mallory.tenant, REPORT_AUDIENCE).start({"app": "web"})
    assert bystander.post(path_to(mallory.namespace, "any"), report(1)).status == 0
    assert bystander.get_metrics().status == 0


@pytest.mark.usefixtures("undisturbed")
def test_metrics_are_not_for_anonymous_readers(hostile: Hostile, site: Site) -> None:
    answer = hostile.get_metrics()
    assert answer.status in {0, 401, 403}, answer  # 0: the NetworkPolicy is enforced.
    assert "detection_training" not in answer.body
    assert read_metrics(site, "").startswith("401")


@pytest.mark.usefixtures("undisturbed")
def test_a_job_with_the_labels_of_anothers_attempt_writes_no_status(
    hostile: Hostile, victim: LiveTraining
) -> None:
    before = victim.status
    forged = report(
        FORGED_STEP,
        checkpoints=[{
            "step": FORGED_STEP, "uri": "s3://evil/step", "digest": "sha256:" + "0" * 64,
            "savedAt": "2026-11-28T10:00:00Z",
        }],
    )  # fmt: skip
    pod = hostile.end_with_message(
        victim.kube.get(victim.path), before["currentAttempt"]["jobName"], json.dumps(forged)
    )
    assert pod["status"]["phase"] == "Succeeded"
    after = victim.wait(lambda found: found["status"]["step"] >= before["step"], "still training")
    assert FORGED_STEP not in [c["step"] for c in after.get("checkpoints", [])]
    assert "evil" not in json.dumps(after)


@pytest.mark.usefixtures("undisturbed")
def test_a_folder_of_another_namespace_is_neither_blocked_nor_disclosed(
    mallory: Mallory, victim: LiveTraining
) -> None:
    storage = {"storage": {"uri": victim.workspace.folder_uri("victim")}}
    mallory.create(mallory.document("squatter", checkpoints=storage, suspend=True))
    squatter = LiveTraining(mallory.workspace, "squatter")
    status = squatter.wait_for_phase("Suspended", "Refused", timeout_s=60)
    assert victim.workspace.namespace not in json.dumps(status.get("conditions"))
    assert victim.status["phase"] != "Refused"


@pytest.mark.usefixtures("undisturbed")
def test_several_workers_are_off_by_default(mallory: Mallory) -> None:
    mallory.create(mallory.document("pair", workers=2))
    pair = LiveTraining(mallory.workspace, "pair")
    status = pair.wait_for_phase("Refused", timeout_s=60)
    assert "administrator" in condition({"status": status}, "Stalled")["message"]
    assert pair.pods == []


def test_the_victim_completes_as_if_nothing_had_been(victim: LiveTraining) -> None:
    status = victim.wait_for_phase("Complete")
    assert status["attemptCount"] == 1
    assert status.get("interruptions", []) == []
    assert status["step"] == status["latestCheckpoint"]["step"] == STEPS


READ_METRICS = """\
import ssl, sys, time, urllib.error, urllib.request
asked = urllib.request.Request(
    "https://127.0.0.1:8080/metrics?name[]=detection_operator_api_requests_total",
    headers={"Authorization": "Bearer " + sys.argv[1]},
)
unverified = ssl._create_unverified_context()  # It is for the Service's name.
deadline = time.monotonic() + 45
while True:
    try:
        print(urllib.request.urlopen(asked, timeout=10, context=unverified).read().decode())
        break
    except urllib.error.HTTPError as error:
        # The API server takes a moment to know a new binding, and the refusal is kept for a while.
        if error.code != 403 or time.monotonic() > deadline:
            print(f"{error.code}: {error.read().decode()}")
            break
        time.sleep(1)
"""


@pytest.fixture(scope="module")
def metrics_token(site: Site, victim: LiveTraining) -> Iterator[str]:
    """Return the token of a user with the right to read metrics, as Prometheus has."""
    namespace, rbac = victim.workspace.namespace, "/apis/rbac.authorization.k8s.io/v1"
    site.kube.create(
        f"{NAMESPACES}/{namespace}/serviceaccounts", {"metadata": {"name": SERVICE_ACCOUNT}}
    )
    name = f"{namespace}-metrics"
    rule = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    site.kube.create(f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": [rule]})
    subject = {"kind": "ServiceAccount", "name": SERVICE_ACCOUNT, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
    site.kube.create(f"{rbac}/clusterrolebindings", binding)
    yield token_of(site.kube, namespace)
    site.kube.delete(f"{rbac}/clusterrolebindings/{name}")
    site.kube.delete(f"{rbac}/clusterroles/{name}")


def read_metrics(site: Site, token: str) -> str:
    """Return the page as the operator serves it to itself: no NetworkPolicy is in the way."""
    within = ["exec", "--namespace", NAMESPACE, f"deployment/{RELEASE}", "--"]
    return run([*site.tools.kubectl, *within, "python3", "-c", READ_METRICS, token])


def api_reads(site: Site, token: str) -> float:
    """Return how many objects the operator has read from the API."""
    page = read_metrics(site, token)
    assert COUNTED in page, page
    lines = [line for line in page.splitlines() if line.startswith(COUNTED) and READ in line]
    return sum(float(line.rpartition(" ")[2]) for line in lines)
