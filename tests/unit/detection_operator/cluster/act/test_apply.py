"""Carrying out actions: each may have been carried out before, in part or by another."""

from dataclasses import replace
from typing import Any

import pytest

from detection_operator import names
from detection_operator.api.conditions import Reason
from detection_operator.cluster.act.apply import Applier
from detection_operator.cluster.api.events import EventPoster
from detection_operator.cluster.api.resources import (
    CLAIMS,
    EVENTS,
    JOBS,
    NETWORK_POLICIES,
    PODS,
    Key,
)
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.parse import parse_training
from detection_operator.core.actions import (
    Action,
    DeleteJob,
    EnsureClaim,
    Event,
    ForceDeletePod,
    Plan,
    StartAttempt,
    StartPreflight,
)
from detection_operator.core.state import PolicySettings
from detection_operator.errors import (
    ConflictError,
    ForbiddenError,
    ForeignObjectError,
    OutdatedObjectError,
    UnavailableError,
)
from detection_operator.manifests import Manifests
from tests.support.operator.cluster_objects import (
    JOB,
    REF,
    UID,
    attempt_status,
    job,
    pod,
    stored_training,
)
from tests.support.operator.fake_cluster import FakeCluster

Object = dict[str, Any]
SETTINGS = PolicySettings(default_image="trainer:1", report_url="http://operator:8080")
START = StartAttempt(1, JOB, "trainer:1")
CLAIM = "trees-checkpoints"
CLAIMED = stored_training(
    status=attempt_status(), checkpoints={"storage": {"volumeClaim": {"size": "1Gi"}}}
)
PAIR = stored_training(status=attempt_status(), workers=2)
POLICY = names.workers_name(UID)


class Scene:
    """An applier in a small cluster."""

    def __init__(self, body: Object | None = None) -> None:
        self.woken: list[Key] = []
        self.api, self.cache = FakeCluster(), Cache(self.woken.append)
        self.training = parse_training(body or stored_training(status=attempt_status()))
        events = EventPoster(self.api)
        self.applier = Applier(self.api, self.cache, events, Manifests(SETTINGS))

    async def do(self, *actions: Action, events: tuple[Event, ...] = ()) -> None:
        await self.applier.apply(self.training, Plan(self.training.status, actions, events))

    def policy(self) -> Object:
        found = self.api.find(NETWORK_POLICIES, POLICY)
        assert found is not None
        return found

    def posted(self) -> list[tuple[str, str]]:
        found = [self.api.find(EVENTS, name) for name in self.api.names(EVENTS)]
        return [(e["type"], e["reason"]) for e in found if e]


async def test_a_job_that_is_found_by_its_name_wakes_its_training() -> None:
    scene = Scene()
    ended = job(status={"conditions": [{"type": "Failed", "status": "True"}]})
    scene.api.put(JOBS, ended)
    await scene.do(START)
    [record] = scene.cache.jobs(REF)
    assert record.job.failed
    assert scene.woken == [Key("vision", "trees")]


async def test_a_new_job_wakes_no_training() -> None:
    scene = Scene()
    await scene.do(START)
    assert scene.woken == []


async def test_an_attempt_is_one_job_of_ours() -> None:
    scene = Scene()
    await scene.do(START)
    made = scene.api.find(JOBS, JOB)
    assert made is not None
    assert made["metadata"]["ownerReferences"][0]["uid"] == UID
    assert [verb for verb, _, _ in scene.api.calls] == ["create"]
    assert [record.job.name for record in scene.cache.jobs(REF)] == [JOB], "known at once"


async def test_an_attempt_that_was_made_before_is_a_success() -> None:
    scene = Scene()
    await scene.do(START)
    await scene.do(START)
    assert scene.api.names(JOBS) == [JOB]


async def test_a_preflight_is_made_likewise() -> None:
    scene = Scene()
    await scene.do(StartPreflight("trees-5f2c8a1b-check-1", "trainer:1"))
    assert scene.api.names(JOBS) == ["trees-5f2c8a1b-check-1"]


async def test_an_object_of_another_owner_under_our_name_is_an_error() -> None:
    scene = Scene()
    stranger = {"kind": "Backup", "name": "nightly", "uid": "x", "controller": True}
    scene.api.put(JOBS, {"metadata": {"name": JOB, "ownerReferences": [stranger]}})
    with pytest.raises(ForeignObjectError, match=f"{JOB} exists and belongs to Backup nightly"):
        await scene.do(START)


async def test_a_job_of_ours_that_is_still_being_deleted_is_waited_for() -> None:
    scene = Scene()
    scene.api.put(JOBS, job(deletionTimestamp="2026-11-24T10:00:00Z"))
    with pytest.raises(ConflictError, match="still being deleted"):
        await scene.do(START)


def waiting_claim(phase: str = "Pending", **spec: Any) -> Object:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
    metadata = {"name": CLAIM, "labels": {"detectiontraining.dev/training": "trees"}}
    return {"metadata": metadata, "spec": {**claim, **spec}, "status": {"phase": phase}}


async def test_a_claim_that_fits_the_spec_is_used() -> None:
    scene = Scene(CLAIMED)
    found = scene.api.put(CLAIMS, waiting_claim(storageClassName="the cluster's default"))
    await scene.do(EnsureClaim(CLAIM))
    assert scene.api.find(CLAIMS, CLAIM) == found


async def test_a_claim_of_an_older_spec_that_is_not_bound_names_itself() -> None:
    scene = Scene(CLAIMED)
    scene.api.put(CLAIMS, waiting_claim(resources={"requests": {"storage": "2Gi"}}))
    expected = r"size: it has 2Gi, the spec requires 1Gi.*delete"
    with pytest.raises(OutdatedObjectError, match=expected):
        await scene.do(EnsureClaim(CLAIM))


async def test_a_bound_claim_stays_as_it_is() -> None:
    scene = Scene(CLAIMED)
    bound = waiting_claim("Bound", resources={"requests": {"storage": "2Gi"}})
    found = scene.api.put(CLAIMS, bound)
    await scene.do(EnsureClaim(CLAIM))
    assert scene.api.find(CLAIMS, CLAIM) == found


async def test_events_are_published_when_an_action_fails() -> None:
    scene = Scene()
    scene.api.failures["create", "jobs"] = UnavailableError("POST", 503, "later")
    with pytest.raises(UnavailableError):
        await scene.do(START, events=(Event("Normal", Reason.ATTEMPT_CREATED, "made"),))
    assert scene.posted() == [("Normal", "AttemptCreated")]


async def test_an_event_that_cannot_be_posted_fails_no_action() -> None:
    scene = Scene()
    scene.api.failures["create", "events"] = ForbiddenError("POST", 403, "no")
    await scene.do(START, events=(Event("Normal", Reason.TRAINING, "training"),))
    assert scene.posted() == []
    assert scene.api.names(JOBS) == [JOB]


async def test_the_same_message_at_another_time_is_another_event() -> None:
    scene = Scene()
    event = Event("Normal", Reason.RESUMED, "Went on from step 5")
    await scene.do(events=(event,))
    await scene.do(events=(event,))
    assert len(scene.posted()) == 2


async def test_a_job_that_no_longer_exists_is_no_error() -> None:
    scene = Scene()
    await scene.do(START)
    made = scene.api.find(JOBS, JOB)
    assert made is not None
    await scene.do(DeleteJob(JOB, made["metadata"]["uid"], "suspended"))
    assert scene.api.names(JOBS) == []
    await scene.do(DeleteJob(JOB, made["metadata"]["uid"], "again"))


async def test_another_job_of_that_name_is_not_touched() -> None:
    scene = Scene()
    scene.api.put(JOBS, job(uid="uid-other"))
    await scene.do(DeleteJob(JOB, "uid-old", "suspended"))
    assert scene.api.names(JOBS) == [JOB]


async def test_a_pod_of_a_lost_node_is_forced_to_end() -> None:
    scene = Scene()
    made = scene.api.put(PODS, pod())
    name, uid = made["metadata"]["name"], made["metadata"]["uid"]
    await scene.do(ForceDeletePod(name, uid))
    assert scene.api.called("delete-0", PODS) == [name]


async def test_a_claim_is_made_once() -> None:
    scene = Scene(CLAIMED)
    for _ in range(2):
        await scene.do(EnsureClaim("trees-checkpoints"))
    assert scene.api.names(CLAIMS) == ["trees-checkpoints"]


async def test_a_claim_of_an_earlier_training_of_this_name_is_adopted() -> None:
    scene = Scene(CLAIMED)
    await scene.do(EnsureClaim("trees-checkpoints"))
    scene.training = replace(
        scene.training, identity=replace(scene.training.identity, uid="uid-recreated")
    )
    await scene.do(EnsureClaim("trees-checkpoints"))
    assert scene.api.names(CLAIMS) == ["trees-checkpoints"]
    assert len(scene.api.called("create", CLAIMS)) == 2, "the second was answered: it exists"


async def test_a_claim_of_another_owner_is_reported() -> None:
    scene = Scene(CLAIMED)
    scene.api.put(CLAIMS, {"metadata": {"name": "trees-checkpoints"}})
    with pytest.raises(ForeignObjectError, match="belongs to nobody"):
        await scene.do(EnsureClaim("trees-checkpoints"))


async def test_a_deletion_that_a_person_must_know_of_is_an_event_once() -> None:
    scene = Scene()
    await scene.do(START)
    made = scene.api.find(JOBS, JOB)
    assert made is not None
    deletion = DeleteJob(JOB, made["metadata"]["uid"], "a sidecar runs", Reason.SIDECAR_RUNNING)
    await scene.do(deletion)
    await scene.do(deletion)
    assert scene.posted() == [("Warning", "SidecarRunning")]


async def test_workers_are_guarded_before_there_are_any() -> None:
    scene = Scene(PAIR)
    await scene.do(START)
    kinds = [plural for verb, plural, _ in scene.api.calls if verb == "create"]
    assert kinds == ["networkpolicies", "services", "jobs"]
    assert scene.policy()["metadata"]["ownerReferences"][0]["uid"] == UID


async def test_no_job_is_made_where_its_workers_cannot_be_guarded() -> None:
    scene = Scene(PAIR)
    scene.api.failures["create", "networkpolicies"] = ForbiddenError("POST", 403, "no right")
    with pytest.raises(ForbiddenError):
        await scene.do(START)
    assert scene.api.names(JOBS) == []


async def test_a_policy_that_is_right_is_left_as_it_is() -> None:
    scene = Scene(PAIR)
    await scene.do(START)
    before = scene.policy()
    await scene.do(replace(START, number=2))
    assert scene.policy() == before
    assert scene.posted() == []


async def test_a_deleted_policy_is_created_again_for_the_next_attempt() -> None:
    scene = Scene(PAIR)
    await scene.do(START)
    del scene.api.objects["networkpolicies", "vision", POLICY]
    await scene.do(replace(START, number=2))
    assert scene.policy()["spec"]["policyTypes"] == ["Ingress"]


CHANGES: dict[str, Object] = {
    "opened to all": {"ingress": [{}]},
    "opened to a namespace": {"ingress": [{"from": [{"namespaceSelector": {}}]}]},
    "turned to other pods": {"podSelector": {"matchLabels": {"app": "web"}}},
    "narrowed to no pod": {"ingress": []},
    "extended to what pods connect to": {"policyTypes": ["Ingress", "Egress"], "egress": []},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
async def test_a_policy_that_was_changed_is_restored_before_the_next_job(
    change: Object,
) -> None:
    scene = Scene(PAIR)
    await scene.do(START)
    right = scene.policy()
    labels = {**right["metadata"]["labels"], "team": "vision"}
    changed = {
        **right,
        "metadata": {**right["metadata"], "labels": labels},
        "spec": {**right["spec"], **change},
    }
    scene.api.put(NETWORK_POLICIES, changed)
    scene.api.calls.clear()
    await scene.do(replace(START, number=2, job_name="trees-5f2c8a1b-2"))
    assert scene.policy()["spec"] == right["spec"]
    assert scene.policy()["metadata"]["labels"] == labels, "what guards nothing is left alone"
    verbs = [(verb, plural) for verb, plural, _ in scene.api.calls]
    assert verbs.index(("update", "networkpolicies")) < verbs.index(("create", "jobs"))
    assert scene.posted() == [("Warning", "NetworkPolicyReset")]


async def test_a_policy_that_is_still_being_deleted_is_waited_for() -> None:
    scene = Scene(PAIR)
    await scene.do(START)
    going = scene.policy()
    going["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
    with pytest.raises(ConflictError, match=rf"NetworkPolicy {POLICY}.*still being deleted"):
        await scene.do(replace(START, number=2, job_name="trees-5f2c8a1b-2"))
    assert scene.api.names(JOBS) == [JOB]


async def test_a_policy_of_another_owner_under_our_name_is_reported() -> None:
    scene = Scene(PAIR)
    scene.api.put(NETWORK_POLICIES, {"metadata": {"name": POLICY}, "spec": {}})
    with pytest.raises(ForeignObjectError, match=f"NetworkPolicy vision/{POLICY} exists"):
        await scene.do(START)
    assert scene.api.names(JOBS) == []
