"""Properties of the created objects that the golden files do not show."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from detection_operator import names
from detection_operator.api.v1alpha1 import Status
from detection_operator.core.actions import RestoreFrom, StartAttempt, StartPreflight
from detection_operator.core.state import PolicySettings
from detection_operator.manifests import Manifests
from detection_operator.manifests.claim import build_claim
from detection_operator.manifests.document import document_text
from detection_operator.manifests.job import build_attempt_job, build_preflight_job
from detection_operator.manifests.network_policy import build_network_policy
from detection_operator.manifests.service import INDEX_VARIABLE, build_service
from detection_trainer.contract import runtime
from detection_trainer.contract.base import text_digest
from detection_trainer.contract.exit_codes import ExitCode
from detection_trainer.contract.report import DatasetPin
from detection_trainer.contract.training import parse_training
from detection_trainer.distributed.tf_config import parse_cluster
from tests.support.operator.observations import (
    CHECK,
    DIGEST,
    JOB,
    SETTINGS,
    UID,
    checkpoint,
    outcome,
    preflight,
    spec,
    training,
)

Object = dict[str, Any]
ATTEMPT = StartAttempt(1, JOB, "trainer:1")
CHECKING = StartPreflight(CHECK, "trainer:1")
INVALID = training(None, invalid="steps: must be above 0")
SOURCE = RestoreFrom("s3://runs/coco/step-500", 500)


def environment(job: Object) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def volumes(job: Object) -> dict[str, Object]:
    return {volume["name"]: volume for volume in job["spec"]["template"]["spec"]["volumes"]}


def test_names_fit_what_kubernetes_takes() -> None:
    longest = "a" * 40
    assert len(names.attempt_name(longest, UID, 10**9)) <= 63
    assert len(names.preflight_name(longest, UID, 10**6)) <= 63
    assert len(names.claim_name(longest)) <= 63


def test_everything_but_a_retained_claim_is_owned() -> None:
    owned = training(spec())
    for made in (
        build_attempt_job(owned, ATTEMPT, SETTINGS),
        build_preflight_job(owned, CHECKING, SETTINGS),
    ):
        (owner,) = made["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["kind"], owner["controller"]) == (
            UID,
            "DetectionTraining",
            True,
        )
        assert "blockOwnerDeletion" not in owner


@pytest.mark.parametrize(("when", "owners"), [("Retain", 0), ("Delete", 1)])
def test_a_claim_is_deleted_with_the_training_only_on_request(when: str, owners: int) -> None:
    claim = {"size": "20Gi", "whenDeleted": when}
    made = build_claim(
        training(spec(checkpoints={"storage": {"volumeClaim": claim}})), "trees-checkpoints"
    )
    assert len(made["metadata"].get("ownerReferences", [])) == owners
    assert made["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "20Gi"}},
    }


def checked(generation: int = 1, **status: Any) -> Status:
    """Return a status whose preflight passed and pinned the training set."""
    pin = DatasetPin(digest=DIGEST, files=2, size_bytes=4096)
    return Status(preflight=preflight(outcome(0, "Completed", dataset=pin), generation), **status)


@pytest.mark.parametrize(
    ("status", "digest"),
    [
        (checked(), DIGEST),
        (checked(generation=7), None),
        (checked(latest_checkpoint=checkpoint(0)), None),
        (Status(preflight=preflight(outcome(0, "Completed"))), None),
        (Status(preflight=preflight()), None),
        (Status(), None),
    ],
    ids=[
        "the digest of what was checked",
        "not what was checked of another spec",
        "from the first checkpoint on its manifest knows",
        "an older trainer pinned nothing",
        "a check that has not ended pinned nothing",
        "there was no check",
    ],
)
def test_the_attempt_receives_the_digest_of_the_checked_dataset(
    status: Status, digest: str | None
) -> None:
    job = build_attempt_job(training(spec(), status), ATTEMPT, SETTINGS)
    assert environment(job).get(runtime.DATASET_DIGEST) == digest


DEVICES = ("nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "amd.com/gpu")


@pytest.mark.parametrize("device", DEVICES)
def test_only_the_trainer_requests_the_device_and_both_tolerate_its_node(device: str) -> None:
    toleration = {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}
    asked = training(
        spec(
            resources={"limits": {device: 2, "memory": "32Gi"}},
            podTemplate={"tolerations": [toleration], "nodeSelector": {"gpu": "yes"}},
        )
    )
    attempt = build_attempt_job(asked, ATTEMPT, SETTINGS)
    check = build_preflight_job(asked, CHECKING, SETTINGS)
    for job, taken in ((attempt, True), (check, False)):
        pod = job["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert (container["resources"]["limits"].get(device) == 2) is taken
        assert pod["tolerations"] == [toleration]
        assert pod["nodeSelector"] == {"gpu": "yes"}
    shared = volumes(attempt)["detection-shm"]
    assert shared["emptyDir"]["medium"] == "Memory"


def test_document_is_what_the_trainer_reads_without_kubernetes() -> None:
    made = training(spec(resources={"limits": {"memory": "1Gi"}}, suspend=True, image="mine:1"))
    read = parse_training(json.loads(document_text(made, None)))
    assert (read.identity.namespace, read.identity.name) == ("vision", "trees")
    assert read.set_aside == []
    assert made.spec is not None
    assert read.spec.model_dump() == {
        key: value for key, value in made.spec.model_dump().items() if key in read.spec.model_dump()
    }


def test_an_older_trainer_receives_only_fields_that_are_set() -> None:
    asked = {"checkpoints": {"storage": {"uri": "s3://runs/trees"}, "everySteps": 7}, "steps": 9}
    document = json.loads(document_text(training(spec(**asked)), None))["spec"]
    assert document.keys() == {"model", "dataset", "steps", "batchSize", "checkpoints"}
    assert {key: document[key] for key in asked} == asked


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"restore": {"mode": "full", "from": {"trainingRef": {"name": "coco"}}}},
            {"restore": {"mode": "full", "from": {"uri": SOURCE.uri}}},
        ),
        (
            {"continueFrom": {"trainingRef": {"name": "coco"}}},
            {"continueFrom": {"uri": SOURCE.uri}},
        ),
        (
            {"restore": {"mode": "full", "from": {"uri": "s3://models/coco"}}},
            {"restore": {"mode": "full", "from": {"uri": "s3://models/coco"}}},
        ),
        (
            {"continueFrom": {"uri": "s3://models/coco"}},
            {"continueFrom": {"uri": "s3://models/coco"}},
        ),
    ],
    ids=["a restore", "a continuation", "a restore by URI", "a continuation by URI"],
)
def test_reference_becomes_a_uri(fields: Object, expected: Object) -> None:
    document = json.loads(document_text(training(spec(**fields)), SOURCE))["spec"]
    found = {key: document[key] for key in ("restore", "continueFrom") if key in document}
    assert found == expected


def test_reference_that_was_not_resolved_is_an_error() -> None:
    made = training(spec(continueFrom={"trainingRef": {"name": "coco"}}))
    with pytest.raises(ValueError, match="trainingRef 'coco' must be resolved"):
        document_text(made, None)


def test_a_resumed_training_no_longer_reports_how_it_started() -> None:
    made = training(
        spec(continueFrom={"trainingRef": {"name": "coco"}}),
        Status(latest_checkpoint=checkpoint(9)),
    )
    assert "continueFrom" not in json.loads(document_text(made, None))["spec"]
    job = build_attempt_job(made, ATTEMPT, SETTINGS)
    assert environment(job)[runtime.RECORDED_STEP] == "9"


def test_digest_is_that_of_the_mounted_document() -> None:
    made = training(spec())
    job = build_attempt_job(made, ATTEMPT, SETTINGS)
    text = job["spec"]["template"]["metadata"]["annotations"]["detectiontraining.dev/document"]
    assert text == document_text(made, None)
    assert environment(job)[runtime.CONFIG_DIGEST] == text_digest(text)
    (item,) = volumes(job)["detection-config"]["downwardAPI"]["items"]
    assert item["fieldRef"]["fieldPath"] == "metadata.annotations['detectiontraining.dev/document']"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"][-1] == f"/etc/detection-training/{item['path']}"


def test_the_largest_document_fits_into_an_annotation() -> None:
    classes = [f"{number:04}" + "x" * 124 for number in range(1000)]
    made = training(spec(dataset={"train": {"uri": "s3://data/x"}, "classes": classes}))
    assert len(document_text(made, None).encode()) < 256 * 1024, "Kubernetes' limit for all of them"


def test_the_trainer_reports_with_its_own_token_and_a_check_has_none() -> None:
    made = training(spec())
    variables = environment(build_attempt_job(made, ATTEMPT, SETTINGS))
    assert variables[runtime.REPORT_URL] == (
        "http://detection-operator.system:8080/v1/namespaces/vision/trainings/trees/report"
    )
    silent = build_preflight_job(made, CHECKING, SETTINGS)
    assert runtime.REPORT_URL not in environment(silent)
    assert "detection-token" not in volumes(silent)
    assert runtime.ATTEMPT not in environment(silent)


HTTPS = replace(SETTINGS, report_url="https://operator.system.svc", report_ca="PEM")
BOTH = replace(HTTPS, plain_report_url="http://operator.system.svc")
ENDPOINTS: dict[str, tuple[PolicySettings, str, bool]] = {
    "over TLS": (HTTPS, "https://operator.system.svc", True),
    "over TLS with an authority that the image knows": (
        replace(HTTPS, report_ca=""),
        "https://operator.system.svc",
        False,
    ),
    "over plain HTTP": (replace(HTTPS, report_url="http://operator"), "http://operator", False),
    "over TLS, beside plain HTTP for others": (BOTH, "https://operator.system.svc", True),
    "over plain HTTP, being of another image": (
        replace(BOTH, default_image="trainer:next"),
        "http://operator.system.svc",
        False,
    ),
    "over TLS, being of another image where nothing is plain": (
        replace(HTTPS, default_image="trainer:next"),
        "https://operator.system.svc",
        True,
    ),
}


@pytest.mark.parametrize(("settings", "base", "has_ca"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_a_trainer_reports(settings: PolicySettings, base: str, *, has_ca: bool) -> None:
    job = build_attempt_job(
        training(spec()), replace(ATTEMPT, image=SETTINGS.default_image), settings
    )
    variables = environment(job)
    assert variables[runtime.REPORT_URL] == f"{base}/v1/namespaces/vision/trainings/trees/report"
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    files = {
        item["path"]: item["fieldRef"]["fieldPath"]
        for item in volumes(job)["detection-config"]["downwardAPI"]["items"]
    }
    assert (runtime.REPORT_CA_FILE in variables) == has_ca
    assert (names.ANNOTATION_REPORT_CA in annotations) == has_ca
    if has_ca:
        assert annotations[names.ANNOTATION_REPORT_CA] == "PEM"
        folder, _, name = variables[runtime.REPORT_CA_FILE].rpartition("/")
        assert folder == "/etc/detection-training"
        assert files[name] == f"metadata.annotations['{names.ANNOTATION_REPORT_CA}']"


def test_an_authority_that_is_renewed_reaches_the_next_attempt() -> None:
    known = ["old"]
    build = Manifests(HTTPS, lambda: known[-1])
    for ca in ("old", "new"):
        known.append(ca)
        job = build.job(training(spec()), ATTEMPT)
        annotations = job["spec"]["template"]["metadata"]["annotations"]
        assert annotations[names.ANNOTATION_REPORT_CA] == ca


def test_contract_wins_over_the_users_environment_and_home_does_not() -> None:
    env = [{"name": runtime.ATTEMPT, "value": "9"}, {"name": "HOME", "value": "/home/me"}]
    job = build_attempt_job(training(spec(podTemplate={"env": env})), ATTEMPT, SETTINGS)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    named = [entry["name"] for entry in container["env"]]
    assert len(named) == len(set(named))
    found = environment(job)
    assert (found[runtime.ATTEMPT], found["HOME"]) == ("1", "/home/me")


def test_our_labels_win_over_the_users() -> None:
    template = {"labels": {names.LABEL_TRAINING_UID: "mine", "team": "vision"}}
    job = build_attempt_job(training(spec(podTemplate=template)), ATTEMPT, SETTINGS)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert (labels[names.LABEL_TRAINING_UID], labels["team"]) == (UID, "vision")


@pytest.mark.parametrize(
    ("claim", "content"),
    [
        ({"size": "1Gi"}, {"emptyDir": {}}),
        ({"claimName": "disk"}, {"persistentVolumeClaim": {"claimName": "disk"}}),
    ],
    ids=["one that is not made yet is an empty folder", "an existing one"],
)
def test_check_mounts_a_claim(claim: Object, content: Object) -> None:
    made = training(spec(checkpoints={"storage": {"volumeClaim": claim}}))
    job = build_preflight_job(made, CHECKING, SETTINGS)
    assert volumes(job)["detection-checkpoints"] == {"name": "detection-checkpoints", **content}
    assert environment(job)[runtime.CHECKPOINT_URI] == "file:///checkpoints"


def test_a_queue_admits_the_job_of_an_attempt_and_not_of_a_check() -> None:
    queued = training(spec(), labels={names.QUEUE_LABEL: "gpus"})
    job = build_attempt_job(queued, ATTEMPT, SETTINGS)
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"][names.QUEUE_LABEL] == "gpus"
    assert "suspend" not in build_preflight_job(queued, CHECKING, SETTINGS)["spec"]
    assert "suspend" not in build_attempt_job(training(spec()), ATTEMPT, SETTINGS)["spec"]


def test_every_failure_fails_the_job_and_the_rule_for_the_trainer_comes_first() -> None:
    job = build_attempt_job(training(spec()), ATTEMPT, SETTINGS)
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {rule["action"] for rule in rules} == {"FailJob"}
    codes = [set(rule.get("onExitCodes", {}).get("values", [])) for rule in rules]
    assert ExitCode.RESTORE_REFUSED in codes[0]
    assert ExitCode.OUT_OF_MEMORY in codes[1]
    assert "onPodConditions" in rules[2]
    assert codes[3] == {ExitCode.SAVED}
    assert all(0 not in values for values in codes)


def test_an_invalid_spec_builds_nothing() -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        build_attempt_job(INVALID, ATTEMPT, SETTINGS)
    with pytest.raises(ValueError, match=r"volumeClaim\.size"):
        build_claim(training(spec()), "trees-checkpoints")


def test_source_on_a_claim_is_mounted_read_only() -> None:
    source = replace(SOURCE, claim_name="coco-checkpoints")
    made = training(spec(continueFrom={"trainingRef": {"name": "coco"}}))
    job = build_attempt_job(made, replace(ATTEMPT, source=source), SETTINGS)
    mounts = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    (mount,) = [m for m in mounts if m["name"] == "detection-source"]
    assert (mount["mountPath"], mount["readOnly"]) == ("/sources/coco", True)


PAIR = training(spec(workers=2))


def test_several_workers_know_each_others_address_and_their_own_index() -> None:
    job = build_attempt_job(PAIR, ATTEMPT, SETTINGS)
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (2, 2)
    assert job["spec"]["completionMode"] == "Indexed"
    service = build_service(PAIR)
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"] == f"workers-{UID}"
    (container,) = pod["containers"]
    env = container["env"]
    assert [e["name"] for e in env[-2:]] == [INDEX_VARIABLE, "TF_CONFIG"], "it must come before"
    assert "job-completion-index" in env[-2]["valueFrom"]["fieldRef"]["fieldPath"]
    for index in (0, 1):
        cluster = parse_cluster(env[-1]["value"].replace(f"$({INDEX_VARIABLE})", str(index)))
        assert cluster.index == index
        assert cluster.addresses == (
            f"trees-5f2c8a1b-1-0.workers-{UID}.vision.svc:2222",
            f"trees-5f2c8a1b-1-1.workers-{UID}.vision.svc:2222",
        )
    selector = service["spec"]["selector"]
    assert selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert (service["spec"]["clusterIP"], service["spec"]["publishNotReadyAddresses"]) == (
        "None",
        True,
    )
    assert len(f"{names.attempt_name('a' * 40, UID, 10**6)}-1023") <= 63


def test_only_workers_of_the_training_reach_its_workers() -> None:
    template = build_attempt_job(PAIR, ATTEMPT, SETTINGS)["spec"]["template"]
    policy = build_network_policy(PAIR)
    workers = policy["spec"]["podSelector"]
    assert workers["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert workers["matchLabels"]["detectiontraining.dev/training-uid"] == UID
    among_themselves, metrics = policy["spec"]["ingress"]
    assert among_themselves == {"from": [{"podSelector": workers}]}, "of this namespace, any port"
    assert metrics == {"ports": [{"protocol": "TCP", "port": 9464}]}
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    (owner,) = policy["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (UID, True)


def test_labels_of_the_spec_cannot_make_a_worker_of_another_training() -> None:
    forged = {"detectiontraining.dev/training-uid": "uid-of-another"}
    made = training(spec(workers=2, podTemplate={"labels": forged}))
    template = build_attempt_job(made, ATTEMPT, SETTINGS)["spec"]["template"]
    assert template["metadata"]["labels"]["detectiontraining.dev/training-uid"] == UID


def test_one_worker_and_a_preflight_have_no_service_and_no_network_policy() -> None:
    build = Manifests(SETTINGS)
    assert build.network(training(spec()), ATTEMPT) is None
    assert build.network(PAIR, CHECKING) is None
    assert build.network(PAIR, ATTEMPT) == (build_network_policy(PAIR), build_service(PAIR))
    check = build_preflight_job(PAIR, CHECKING, SETTINGS)
    assert check["spec"]["completions"] == 1
    assert "TF_CONFIG" not in environment(check)


def test_only_the_other_workers_and_prometheus_reach_a_worker() -> None:
    policy = build_network_policy(PAIR)
    workers, metrics = policy["spec"]["ingress"]
    assert workers == {"from": [{"podSelector": policy["spec"]["podSelector"]}]}
    assert metrics == {"ports": [{"port": 9464, "protocol": "TCP"}]}
    job = Manifests(SETTINGS).job(PAIR, ATTEMPT)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


@pytest.mark.parametrize("name", ["2026-trees", "trees-v1.2", "a" * 40, "9"])
def test_names_of_what_several_workers_need_are_dns_labels(name: str) -> None:
    label = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
    named = replace(PAIR, identity=replace(PAIR.identity, name=name))
    policy, service = Manifests(SETTINGS).network(named, ATTEMPT) or ({}, {})
    assert label.fullmatch(service["metadata"]["name"])
    assert label.fullmatch(policy["metadata"]["name"])
    host = f"{names.attempt_name(name, named.identity.uid, 99999)}-1023"
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", host)


def test_labels_of_the_pod_template_are_on_all_that_is_made() -> None:
    wanted = {"cost-centre": "4711", "detectiontraining.dev/training": "not this one"}
    claim = {"storage": {"volumeClaim": {"size": "1Gi", "accessModes": ["ReadWriteMany"]}}}
    labelled = training(spec(workers=2, podTemplate={"labels": wanted}, checkpoints=claim))
    made = [
        *(Manifests(SETTINGS).network(labelled, ATTEMPT) or ()),
        Manifests(SETTINGS).job(labelled, ATTEMPT),
        Manifests(SETTINGS).job(labelled, CHECKING),
        build_claim(labelled, "trees-checkpoints"),
    ]
    assert len(made) == 5
    for found in made:
        labels = found["metadata"]["labels"]
        assert labels["cost-centre"] == "4711"
        assert labels["detectiontraining.dev/training"] == "trees", "ours win"


def test_labels_of_the_training_itself_are_on_nothing_that_is_made() -> None:
    tracked = replace(training(spec()), labels={"argocd.argoproj.io/instance": "app"})
    job = Manifests(SETTINGS).job(tracked, ATTEMPT)
    assert "argocd.argoproj.io/instance" not in json.dumps(job)
