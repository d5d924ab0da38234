"""The endpoint of reports, over HTTP: which pod may report what, and the answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from yarl import URL

from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import JOBS, PODS, TRAININGS, Key
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.ownership import Ref
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.report_queue import Pace, ReportQueue
from detection_operator.cluster.reports import ReportWriter
from detection_operator.errors import UnavailableError
from detection_operator.names import attempt_name
from detection_operator.server import progress
from detection_operator.server.lookups import LookUps
from detection_operator.server.progress import ProgressEndpoint, new_tokens_rate
from detection_operator.server.rate import RateLimit
from detection_operator.server.report_access import ReportAccess
from detection_operator.server.site import open_site
from detection_operator.server.tokens import TokenVerifier
from detection_trainer.contract.report import MAX_REPORT_BYTES
from detection_trainer.contract.runtime import REPORT_AUDIENCE, REPORT_PATH
from tests.support.operator.cluster_objects import (
    JOB_UID,
    POD_UID,
    UID,
    attempt_status,
    job,
    newer,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.telemetry import Silence
from tests.support.operator.tokens import Signer

SIGNER = Signer()
REPORT = {
    "attempt": 1,
    "sequence": 1,
    "time": "2026-11-24T10:00:00Z",
    "step": 5,
    "targetSteps": 100,
    "resumedFromStep": 0,
    "progress": {"loss": 0.5},
}


class Counted(Silence):
    def __init__(self) -> None:
        self.results: list[str] = []

    def report_handled(self, result: str) -> None:
        self.results.append(result)


class Scene:
    """A server that listens on this machine, before a small cluster."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.api, self.counted = FakeCluster(), Counted()
        self.cache = Cache(self.woken.append)
        self.now = 1000.0
        queue = KeyQueue()
        writer = StatusWriter(self.api, self.cache, queue)
        reports = ReportQueue(
            cache=self.cache,
            queue=queue,
            writer=ReportWriter(cache=self.cache, writer=writer, events=EventPoster(self.api)),
            pace=Pace(interval_s=30),
        )

        async def fetch(path: str) -> dict[str, Any]:
            return SIGNER.documents()[path]

        self.endpoint = ProgressEndpoint(
            access=ReportAccess(self.api, self.cache, writer, LookUps(lambda: self.now)),
            verifier=TokenVerifier(fetch, REPORT_AUDIENCE),
            reports=reports,
            telemetry=self.counted,
            rate=RateLimit(burst=3, clock=lambda: self.now),
            last_report_rate=RateLimit(burst=1, clock=lambda: self.now),
            new_tokens=RateLimit(every_s=0.1, burst=50, clock=lambda: self.now),
        )
        body = self.api.put(TRAININGS, stored_training(status=attempt_status()))
        self.cache.apply(TRAININGS, body)
        for resource, made in ((JOBS, job()), (PODS, pod())):
            self.cache.apply(resource, self.api.put(resource, made))
        self.address = ""
        self.session: aiohttp.ClientSession

    async def post(
        self,
        body: Any = REPORT,
        token: str | None = None,
        namespace: str = "vision",
        name: str = "trees",
    ) -> tuple[int, dict[str, Any]]:
        path = REPORT_PATH.format(namespace=namespace, name=name)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {SIGNER.sign() if token is None else token}"}
        url = self.address + path
        async with self.session.post(url, data=data, headers=headers) as answer:
            return answer.status, await answer.json()

    @property
    def status(self) -> dict[str, Any]:
        found = self.api.find(TRAININGS, "trees")
        assert found is not None
        status: dict[str, Any] = found["status"]
        return status


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    site = await open_site(made.endpoint.routes(), "127.0.0.1", 0)
    made.address = f"http://127.0.0.1:{site.port}"
    async with aiohttp.ClientSession() as made.session:
        yield made
    await site.close()


async def refused(scene: Scene, **asked: Any) -> tuple[int, str]:
    status, answer = await scene.post(**asked)
    assert answer["acknowledged"] is False
    assert answer["message"]
    assert scene.counted.results == [answer["reason"]]
    assert "step" not in scene.status, "nothing was written"
    return status, answer["reason"]


async def test_a_report_of_a_trainers_pod_is_in_the_status(scene: Scene) -> None:
    assert await scene.post() == (200, {"acknowledged": True, "written": True})
    assert scene.status["step"] == 5
    assert await scene.post(REPORT | {"step": 6, "sequence": 2}) == (
        200,
        {"acknowledged": True, "written": False},
    )
    assert scene.counted.results == ["written", "deferred"]


async def test_a_client_that_reports_too_often_learns_when_to_retry(scene: Scene) -> None:
    path = scene.address + REPORT_PATH.format(namespace="vision", name="trees")
    headers = {"Authorization": f"Bearer {SIGNER.sign()}"}
    for sequence in range(1, 4):
        assert (await scene.post(REPORT | {"sequence": sequence}))[0] == 200
    async with scene.session.post(path, data=b"not even read", headers=headers) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert (await answer.json())["reason"] == "too_often"
    scene.now += 1
    assert (await scene.post(REPORT | {"sequence": 5}))[0] == 200


async def test_a_final_report_is_admitted_but_not_without_limit(scene: Scene) -> None:
    for sequence in range(1, 4):
        await scene.post(REPORT | {"sequence": sequence})
    outcome = {"exitCode": 40, "reason": "Saved", "message": "saved"}
    last = REPORT | {"sequence": 9, "outcome": outcome}
    assert await scene.post(last) == (200, {"acknowledged": True, "written": True})
    assert (await scene.post(last))[0] == 429
    pretended = REPORT | {"sequence": 10, "outcome": None}
    assert (await scene.post(pretended))[0] == 429


async def test_a_noisy_pod_does_not_affect_another(scene: Scene) -> None:
    other = attempt_status() | {"phase": "Running"}
    birds = stored_training("birds", uid="uid-birds", status=other)
    scene.cache.apply(TRAININGS, scene.api.put(TRAININGS, birds))
    name = attempt_name("birds", "uid-birds", 1)
    theirs = job(uid="uid-job-2", name=name, owner_uid="uid-birds")
    theirs["metadata"]["ownerReferences"][0]["name"] = "birds"
    scene.cache.apply(JOBS, theirs)
    quiet = pod(
        uid="uid-pod-2", name="birds-1", owner_uid="uid-birds", job_uid="uid-job-2", job_name=name
    )
    quiet["metadata"]["labels"]["detectiontraining.dev/training"] = "birds"
    scene.cache.apply(PODS, quiet)
    for sequence in range(1, 9):
        await scene.post(REPORT | {"sequence": sequence})
    assert scene.counted.results[-1] == "too_often"
    token = SIGNER.sign(pod_uid="uid-pod-2")
    assert (await scene.post(token=token, name="birds"))[0] == 200


async def test_a_request_without_a_token_is_refused(scene: Scene) -> None:
    path = REPORT_PATH.format(namespace="vision", name="trees")
    for headers in ({}, {"Authorization": "Basic abc"}, {"Authorization": "Bearer "}):
        async with scene.session.post(scene.address + path, headers=headers) as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert scene.counted.results == ["no_token"] * 3


async def test_a_forged_token_is_refused(scene: Scene) -> None:
    assert await refused(scene, token=Signer().sign()) == (401, "signature")


async def test_a_token_of_another_namespace_is_refused(scene: Scene) -> None:
    token = SIGNER.sign(namespace="other")
    assert await refused(scene, token=token) == (403, "other_namespace")


async def test_a_pod_of_another_training_is_refused(scene: Scene) -> None:
    other = pod(uid="uid-pod-2", name="birds-1", owner_uid="uid-birds", job_uid="uid-job-2")
    scene.cache.apply(PODS, other)
    token = SIGNER.sign(pod_uid="uid-pod-2")
    assert await refused(scene, token=token) == (403, "other_training")


async def test_a_pod_whose_job_is_another_trainings_is_refused(scene: Scene) -> None:
    scene.cache.apply(JOBS, job(uid="uid-job-2", name="birds-1", owner_uid="uid-birds"))
    scene.cache.apply(PODS, pod(uid="uid-pod-2", name="forged", job_uid="uid-job-2"))
    token = SIGNER.sign(pod_uid="uid-pod-2")
    assert await refused(scene, token=token) == (403, "other_training")


async def test_a_worker_that_is_not_the_chief_does_not_report(scene: Scene) -> None:
    other = pod(uid="uid-pod-2", name="trees-1-1")
    other["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = "1"
    scene.cache.apply(PODS, other)
    assert await refused(scene, token=SIGNER.sign(pod_uid="uid-pod-2")) == (403, "not_the_chief")


async def test_a_pod_that_is_no_trainers_is_refused(scene: Scene) -> None:
    stranger = pod(uid="uid-web", ownerReferences=[])
    scene.api.put(PODS, stranger)
    assert await refused(scene, token=SIGNER.sign(pod_uid="uid-web")) == (403, "other_training")


async def test_the_token_of_a_deleted_pod_is_dead_at_once(scene: Scene) -> None:
    scene.cache.delete(PODS, newer(pod(), 200))
    assert await refused(scene) == (403, "pod_gone")


@pytest.mark.parametrize("there", [True, False], ids=["another bears its name", "none is there"])
async def test_a_pod_that_the_api_does_not_know_is_gone(scene: Scene, *, there: bool) -> None:
    if not there:
        del scene.api.objects["pods", "vision", "trees-5f2c8a1b-1-x7k2p"]
    assert await refused(scene, token=SIGNER.sign(pod_uid="uid-old")) == (403, "pod_gone")


async def test_a_pod_that_the_watch_has_not_reported_is_looked_up_with_its_job(
    scene: Scene,
) -> None:
    scene.cache.forget(PODS, POD_UID)
    scene.cache.forget(JOBS, JOB_UID)
    made = scene.api.put(PODS, pod(uid="uid-pod-9", job_uid="uid-job-9"))
    scene.api.put(JOBS, job(uid="uid-job-9"))
    token = SIGNER.sign(pod_uid="uid-pod-9")
    assert (await scene.post(token=token))[0] == 200
    assert scene.cache.job(Ref("vision", "uid-job-9")) is not None
    assert made["metadata"]["uid"] == "uid-pod-9"
    assert Key("vision", "trees") in scene.woken, "the watch brings no news of what is known"


async def test_a_pod_that_names_a_job_that_never_existed_is_refused(scene: Scene) -> None:
    scene.cache.apply(PODS, pod(uid="uid-pod-2", name="forged", job_uid="uid-job-2"))
    token = SIGNER.sign(pod_uid="uid-pod-2")
    assert await refused(scene, token=token) == (503, "job_gone")


async def test_a_pod_of_a_job_of_no_attempt_is_refused(scene: Scene) -> None:
    scene.cache.apply(PODS, pod(uid="uid-pod-2", name="forged", job_name="no-attempt"))
    token = SIGNER.sign(pod_uid="uid-pod-2")
    assert await refused(scene, token=token) == (403, "other_training")


async def test_a_pod_that_outlives_its_job_may_send_its_final_report(scene: Scene) -> None:
    scene.cache.forget(JOBS, JOB_UID)
    del scene.api.objects["jobs", "vision", "trees-5f2c8a1b-1"]
    assert await refused(scene) == (503, "job_gone"), "its deletion is about to be known"
    scene.counted.results.clear()
    goes: dict[str, Any] = {"deletionTimestamp": "2026-11-24T10:05:00Z"}
    scene.cache.apply(PODS, newer(pod(**goes), 1000))
    outcome = {"exitCode": 40, "reason": "Saved", "message": "saved at step 5"}
    assert (await scene.post(REPORT | {"outcome": outcome}))[0] == 200
    assert scene.status["currentAttempt"]["outcome"]["reason"] == "Saved"
    scene.cache.forget(PODS, POD_UID)
    made = pod(uid="uid-pod-9", **goes)
    scene.api.put(PODS, made)
    status, _ = await scene.post(REPORT | {"sequence": 2}, token=SIGNER.sign(pod_uid="uid-pod-9"))
    assert status == 200, "the Job was seen before it went"


@pytest.mark.parametrize("recorded", [True, False], ids=["the status names it", "nothing does"])
async def test_of_a_job_that_the_operator_never_saw_only_the_status_proves_a_pod(
    scene: Scene, *, recorded: bool
) -> None:
    if recorded:
        status = attempt_status(jobUID="uid-job-9")
        scene.cache.apply(TRAININGS, scene.api.put(TRAININGS, stored_training(status=status)))
    goes: dict[str, Any] = {"deletionTimestamp": "2026-11-24T10:05:00Z"}
    scene.api.put(PODS, pod(uid="uid-pod-9", job_uid="uid-job-9", **goes))
    token = SIGNER.sign(pod_uid="uid-pod-9")
    if recorded:
        assert (await scene.post(token=token))[0] == 200
    else:
        assert await refused(scene, token=token) == (403, "other_training")


async def test_a_job_of_another_namespace_gives_no_pod_the_right_to_report(scene: Scene) -> None:
    scene.cache.apply(JOBS, job(uid="uid-job-a", namespace="team-a"))
    scene.cache.apply(PODS, pod(uid="uid-pod-a", job_uid="uid-job-a"))
    token = SIGNER.sign(pod_uid="uid-pod-a")
    assert await refused(scene, token=token) == (503, "job_gone")


async def test_the_training_is_looked_up_before_it_is_reported_gone(scene: Scene) -> None:
    scene.cache.forget(TRAININGS, UID)
    del scene.api.objects["detectiontrainings", "vision", "trees"]
    status, answer = await scene.post()
    assert (status, answer["reason"]) == (404, "training_gone")
    assert scene.api.called("get", TRAININGS) == ["trees"]
    fresh = scene.api.put(TRAININGS, stored_training(uid="uid-2", status=attempt_status()))
    assert fresh
    scene.now += 10
    status, answer = await scene.post()
    assert (status, answer["reason"]) == (403, "other_training"), "another uid: not its pod"


async def test_an_attempt_that_is_over_is_asked_to_stop(scene: Scene) -> None:
    body = scene.api.put(TRAININGS, stored_training(status=attempt_status(2)))
    scene.cache.apply(TRAININGS, body)
    assert await refused(scene) == (409, "stale_attempt")


async def test_a_pod_reports_for_its_own_attempt_only(scene: Scene) -> None:
    assert await refused(scene, body=REPORT | {"attempt": 2}) == (403, "other_attempt")


HOSTILE_NAMES = {
    "a path upwards": ("vision", "..%2F..%2F..%2F..%2Fapi%2Fv1%2Fsecrets"),
    "a path upwards as the namespace": ("..%2F..%2Fapi", "trees"),
    "a query": ("vision", "trees%3Fwatch=1"),
    "a watch of all": ("vision", "%3Fwatch=1"),
    "a fragment": ("vision", "trees%23"),
    "a subresource": ("vision", "trees%2Fstatus"),
    "a dot": ("vision", "%2E"),
    "two dots twice escaped": ("vision", "%252E%252E"),
    "a zero byte": ("vision", "trees%00"),
    "a line's end": ("vision", "trees%0D%0A"),
    "capitals": ("vision", "TREES"),
    "a name that is too long": ("vision", "a" * 254),
    "a namespace that is too long": ("a" * 64, "trees"),
    "letters that are not ASCII": ("vision", "tr%C3%A9es"),
}


@pytest.mark.parametrize(("namespace", "name"), HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
async def test_a_name_that_cannot_be_never_reaches_the_api(
    scene: Scene, namespace: str, name: str
) -> None:
    path = REPORT_PATH.format(namespace=namespace, name=name)
    url = URL(scene.address + path, encoded=True)
    headers = {"Authorization": f"Bearer {SIGNER.sign(namespace=namespace)}"}
    async with scene.session.post(url, json=REPORT, headers=headers) as answer:
        assert answer.status == 400
        assert (await answer.json())["reason"] == "bad_name"
    assert scene.api.calls == []


async def test_a_pod_that_is_no_trainers_causes_one_read_in_ten_seconds(scene: Scene) -> None:
    scene.api.put(PODS, pod(uid="uid-web", ownerReferences=[]))
    token = SIGNER.sign(pod_uid="uid-web")
    for number in range(500):
        scene.now += 0.01
        status, _ = await scene.post(token=token, name=f"guess-{number}")
        assert status == 403
    assert scene.api.calls == [("get", "pods", "trees-5f2c8a1b-1-x7k2p")]
    scene.now += 10
    assert (await scene.post(token=token))[0] == 403
    assert len(scene.api.calls) == 2, "it may have become one"


async def test_a_pod_that_cannot_be_read_is_no_trainers(scene: Scene) -> None:
    odd = {"phase": {"a": 1}, "containerStatuses": 7, "conditions": [None]}
    scene.api.put(PODS, pod(uid="uid-odd", status=odd, ownerReferences=[{"controller": True}, 1]))
    assert await refused(scene, token=SIGNER.sign(pod_uid="uid-odd")) == (403, "other_training")


async def test_a_pod_with_a_trainers_labels_causes_a_handful_of_reads(scene: Scene) -> None:
    forged = pod(uid="uid-forged", job_uid="uid-no-job")
    forged["metadata"]["labels"]["detectiontraining.dev/training"] = "ghost"
    forged["metadata"]["ownerReferences"][0]["name"] = attempt_name("ghost", UID, 1)
    scene.cache.apply(PODS, forged)
    token = SIGNER.sign(pod_uid="uid-forged")
    for _ in range(200):
        scene.now += 0.05
        assert (await scene.post(token=token, name="ghost"))[0] in {403, 429, 503}
    assert scene.api.called("get", TRAININGS) == [], "no training is looked up for it"
    assert len(scene.api.calls) <= 3


async def test_unknown_pods_cause_few_reads_in_total(scene: Scene) -> None:
    for number in range(49):
        token = SIGNER.sign(pod_uid=f"uid-{number}")
        assert (await scene.post(token=token))[0] in {403, 429}
    assert len(scene.api.calls) <= 20


async def test_a_job_of_another_namespaces_training_of_this_name_is_no_proof(scene: Scene) -> None:
    elsewhere = job(uid="uid-job-2", namespace="other")
    scene.cache.apply(JOBS, elsewhere)
    scene.cache.apply(PODS, pod(uid="uid-pod-2", name="forged", job_uid="uid-job-2"))
    token = SIGNER.sign(pod_uid="uid-pod-2")
    assert await refused(scene, token=token) == (503, "job_gone"), "none of its namespace"


async def test_an_address_tries_few_tokens(scene: Scene) -> None:
    for _ in range(49):
        assert (await scene.post(token="a.b.c"))[0] == 401
    await scene.post(token="a.b.c")
    status, answer = await scene.post(token="a.b.c")
    assert (status, answer["reason"]) == (429, "too_many_tokens")
    scene.now += 1
    # One token: a second one, signed in another second, is another.
    token = SIGNER.sign()
    assert (await scene.post(token=token))[0] == 200, "a good one, a moment later"
    for _ in range(60):
        await scene.post(token="a.b.c")
    scene.now += 1
    for _ in range(10):
        await scene.post(token="a.b.c")
    assert (await scene.post(REPORT | {"sequence": 2}, token=token))[0] == 200, (
        "one that is known is no try"
    )


def test_where_pods_share_an_address_it_has_no_limit() -> None:
    shared = new_tokens_rate(limits_addresses=False)
    assert [shared.take("10.0.0.1") for _ in range(1000)] == [0.0] * 1000
    own = new_tokens_rate(limits_addresses=True)
    assert any(own.take("10.0.0.1") > 0 for _ in range(1000))


@pytest.mark.parametrize(
    "token",
    ["\xe9.b.c", base64.urlsafe_b64encode(b"[" * 5000).decode() + ".e30.x"],
    ids=["not in ASCII", "with a header as deep as it is long"],
)
async def test_no_token_makes_the_endpoint_fail(scene: Scene, token: str) -> None:
    assert await refused(scene, token=token) == (401, "malformed")


INVALID: dict[str, Any] = {
    "no JSON": b"{",
    "nothing at all": b"",
    "NaN as a loss": json.dumps(REPORT | {"progress": {"loss": float("nan")}}).encode(),
    "infinity as a metric": json.dumps(REPORT | {"metrics": {"mAP": float("inf")}}).encode(),
    "an unknown field": REPORT | {"colour": "green"},
    "a negative step": REPORT | {"step": -1},
    "a missing field": {"attempt": 1},
}


@pytest.mark.parametrize("body", INVALID.values(), ids=INVALID.keys())
async def test_what_does_not_hold_never_reaches_the_api(scene: Scene, body: Any) -> None:
    assert await refused(scene, body=body) == (422, "invalid")


async def test_the_explanation_names_the_field(scene: Scene) -> None:
    _, answer = await scene.post(REPORT | {"step": -1})
    assert "step: expected at least 0 (received -1)" in answer["message"]


async def test_a_report_that_is_too_large_is_not_read(scene: Scene) -> None:
    large = b" " * (MAX_REPORT_BYTES + 1)
    assert await refused(scene, body=large) == (413, "too_large")


async def test_a_report_of_the_largest_size_is_read(scene: Scene) -> None:
    text = json.dumps(REPORT).encode()
    padded = text + b" " * (MAX_REPORT_BYTES - len(text))
    assert (await scene.post(padded))[0] == 200


async def test_a_slow_sender_is_disconnected(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "READ_TIMEOUT_S", 0.05)
    path = REPORT_PATH.format(namespace="vision", name="trees")
    never = asyncio.Event()

    async def dawdle() -> AsyncIterator[bytes]:
        yield b"{"
        await never.wait()

    headers = {"Authorization": f"Bearer {SIGNER.sign()}"}
    url = scene.address + path
    async with scene.session.post(url, data=dawdle(), headers=headers) as answer:
        assert answer.status == 408
        never.set()


async def test_while_the_api_is_down_the_answer_has_the_time_of_a_retry(scene: Scene) -> None:
    scene.api.failures["patch", "detectiontrainings"] = UnavailableError("PATCH", 503, "down")
    path = REPORT_PATH.format(namespace="vision", name="trees")
    headers = {"Authorization": f"Bearer {SIGNER.sign()}"}
    async with scene.session.post(scene.address + path, json=REPORT, headers=headers) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"]
    assert scene.counted.results == ["unavailable"]
