"""A training whose spec is a pipeline.config: read before any pod, and kept once it has started."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from detection_operator import names
from detection_operator.api.conditions import Phase, Reason
from detection_operator.cluster.api.resources import CONFIG_MAPS, TRAININGS, Key, Object
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.configs import read_config
from detection_operator.cluster.observe.gather import CONFIG_MAP_RECHECK_S, Gathered, Gatherer
from detection_operator.cluster.observe.parse import parse_training, render_status
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_operator.core.actions import StartAttempt, StartPreflight
from detection_operator.core.plan import plan
from detection_operator.core.state import Observed, PolicySettings, UnreadSpec
from detection_operator.errors import ForbiddenError
from detection_operator.manifests.document import document_text
from detection_operator.manifests.job import build_preflight_job
from detection_trainer.contract.documents import parse_yaml
from detection_trainer.contract.packing import pack
from detection_trainer.contract.training import parse_training as parse_document
from tests.support.operator.cluster_objects import attempt_status, stored_training
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.operator.observations import CHECK, check_job, ended_pod, termination_message
from tests.support.trainer.pipeline_configs import config_text

TREES = Key("vision", "trees")
NOW = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)
UNSET: Object = {"model": None, "dataset": None, "steps": None, "batchSize": None}
SETTINGS = PolicySettings(default_image="trainer:1", report_url="https://operator")
CHECKPOINT = {
    "step": 10,
    "uri": "s3://runs/trees/step-00000010",
    "digest": "sha256:" + "0" * 64,
    "savedAt": "2026-11-24T10:00:00Z",
}

URI = "s3://models/pipeline.config"
ENDED = {
    "exitCode": 50,
    "reason": "InvalidConfig",
    "message": "…",
    "finishedAt": "2026-11-24T10:01:00Z",
}


def inline(text: str | None = None, **spec: Any) -> Object:
    source = {"inline": config_text() if text is None else text}
    return stored_training(**{**UNSET, "pipelineConfig": source, **spec})


def referring(status: Object | None = None, **spec: Any) -> Object:
    source = {"configMapKeyRef": {"name": "trees", "key": "pipeline.config"}}
    return stored_training(status=status, **{**UNSET, "pipelineConfig": source, **spec})


def put(api: FakeCluster, text: str, key: str = "pipeline.config") -> None:
    api.put(CONFIG_MAPS, {"metadata": {"name": "trees"}, "data": {key: text}})


async def gather(api: FakeCluster, body: Object) -> Gathered:
    cache = Cache()
    cache.apply(TRAININGS, body)
    found = await Gatherer(api, cache, WarningEvents(api, KeyQueue())).gather(TREES)
    assert found is not None
    return found


def steps_of(found: Gathered) -> int | None:
    spec = found.observed.training.spec
    return None if spec is None else spec.steps


def test_an_inline_one_makes_the_spec_whole() -> None:
    training = parse_training(inline())
    assert training.spec is not None
    assert training.spec.steps == 25000
    assert training.spec.batch_size == 8
    assert training.spec.optimizer.name == "adam"
    assert training.pipeline_config is not None
    assert any("sync_replicas" in note for note in training.pipeline_config.passed_over)


def test_what_the_api_server_fills_in_does_not_win() -> None:
    filled = {"name": "momentum", "learningRate": 0.04, "schedule": {"type": "cosine"}}
    training = parse_training(inline(batchSize=16, augmentation=[], optimizer=filled))
    assert training.spec is not None
    assert training.spec.batch_size == 8
    assert training.spec.optimizer.name == "adam"
    assert len(training.spec.augmentation) == 7


def test_fields_of_the_spec_override_the_pipeline_config() -> None:
    optimizer = {"schedule": {"type": "cosine", "decaySteps": 2500}}
    training = parse_training(inline(steps=50000, batchSize=4, optimizer=optimizer))
    assert training.spec is not None
    assert (training.spec.steps, training.spec.batch_size) == (50000, 4)
    assert training.spec.optimizer.schedule.decay_steps == 2500
    assert training.spec.optimizer.schedule.type == "exponential"


def test_the_document_of_the_trainer_has_all_fields_and_no_configuration() -> None:
    training = parse_training(inline())
    document = parse_yaml(document_text(training, None))
    assert "pipelineConfig" not in document["spec"]
    assert training.spec is not None
    trained = parse_document(document).spec
    assert trained.model == training.spec.model
    assert trained.optimizer == training.spec.optimizer


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (inline("model { center_net { } }"), "center_net is not supported; expected ssd"),
        (inline(config_text("ssd_resnet50_v1_fpn_640x640")), "set spec.dataset"),
        (inline(workers=3), "batchSize 8 must be divisible by workers 3"),
        (inline(model={"backbone": "tiny"}), "model and pipelineConfig exclude each other"),
    ],
    ids=["another model", "no dataset", "a batch that workers cannot share", "a model beside it"],
)
def test_what_does_not_hold_is_refused_before_any_pod(body: Object, message: str) -> None:
    training = parse_training(body)
    assert training.spec is None
    assert message in training.invalid
    decided = plan(Observed(training), SETTINGS, NOW)
    assert decided.status.phase == Phase.REFUSED
    ready = next(c for c in decided.status.conditions if c.type == "Ready")
    assert ready.reason == Reason.INVALID_SPEC
    assert message in ready.message
    assert decided.actions == ()


def test_a_text_is_mapped_once_for_all_decisions_of_its_training() -> None:
    before = read_config.misses
    text = config_text() + "# of this test alone"
    mapped = [parse_training(inline(text)).spec for _ in range(3)]
    assert read_config.misses == before + 1
    assert mapped[0] == mapped[1] == mapped[2]
    changed = parse_training(inline(text, batchSize=4, optimizer={"schedule": {"decaySteps": 9}}))
    assert changed.spec is not None
    assert changed.spec.batch_size == 4
    assert parse_training(inline(text)).spec == mapped[0], "a spec does not change another"


async def test_the_config_map_is_read_and_reported(api: FakeCluster) -> None:
    put(api, config_text())
    found = await gather(api, referring())
    decided = plan(found.observed, SETTINGS, NOW)
    assert decided.status.target_steps == 25000
    assert decided.status.pipeline_config is not None
    assert decided.status.pipeline_config.text == config_text()
    assert found.recheck_after_s is None


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "there is no ConfigMap 'trees' in namespace 'vision'"),
        ("other", "ConfigMap 'trees' has no key 'pipeline.config'; it has other"),
    ],
)
async def test_a_missing_config_map_is_reported_and_looked_up_again(
    api: FakeCluster, key: str | None, message: str
) -> None:
    if key is not None:
        put(api, config_text(), key)
    found = await gather(api, referring())
    assert message in found.observed.training.invalid
    assert found.recheck_after_s == CONFIG_MAP_RECHECK_S
    put(api, config_text())
    assert (await gather(api, referring())).observed.training.spec is not None


async def test_a_config_map_that_may_not_be_read_is_reported(api: FakeCluster) -> None:
    api.failures["get", "configmaps"] = ForbiddenError("GET …", 403, "forbidden")
    found = await gather(api, referring())
    assert "may not read ConfigMap 'trees'" in found.observed.training.invalid


async def test_a_training_with_a_checkpoint_keeps_the_text_it_started_with(
    api: FakeCluster,
) -> None:
    put(api, config_text().replace("num_steps: 25000", "num_steps: 1"))
    pinned = {"text": config_text(), "digest": "sha256:" + "1" * 64}
    begun = {"observedGeneration": 1, "latestCheckpoint": CHECKPOINT, "pipelineConfig": pinned}
    found = await gather(api, referring(begun))
    assert found.observed.training.spec is not None
    assert found.observed.training.spec.steps == 25000
    assert api.calls == []


async def test_so_does_an_attempt_under_way_and_one_that_failed_before_reads_again(
    api: FakeCluster,
) -> None:
    put(api, config_text().replace("num_steps: 25000", "num_steps: 30000"))
    pinned = {"text": config_text(), "digest": "sha256:" + "1" * 64}
    running = attempt_status() | {"pipelineConfig": pinned}
    assert steps_of(await gather(api, referring(running))) == 25000
    ended = attempt_status(outcome=ENDED) | {"pipelineConfig": pinned}
    assert steps_of(await gather(api, referring(ended))) == 30000


def at_uri(status: Object | None = None, uri: str = URI, **spec: Any) -> Object:
    return stored_training(status=status, **{**UNSET, "pipelineConfig": {"uri": uri}, **spec})


def pinned(uri: str = URI, **status: Any) -> Object:
    """Return a status that has the text of `uri`."""
    config = {"text": config_text(), "digest": "sha256:" + "1" * 64, "uri": uri}
    return {"observedGeneration": 1, "pipelineConfig": config, **status}


def checked(generation: int = 1, code: int = 0) -> Object:
    """Return the status of a check that ended."""
    outcome = {"exitCode": code, "reason": "AsGiven", "message": "…"}
    check = {"jobName": CHECK, "createdAt": CHECKPOINT["savedAt"], "generation": generation}
    return {"preflight": check | {"outcome": outcome}}


def test_one_at_a_uri_is_left_to_the_pod_of_a_check() -> None:
    credentials = [{"uriPrefix": "s3://models", "secretRef": {"name": "models"}}]
    body = at_uri(credentials=credentials, optimizer={"schedule": {"onExtend": "Restart"}})
    training = parse_training(body)
    assert isinstance(training.spec, UnreadSpec)
    decided = plan(Observed(training), SETTINGS, NOW)
    assert decided.status.target_steps is None
    assert decided.status.classes == []
    [action] = decided.actions
    assert isinstance(action, StartPreflight)
    pod = build_preflight_job(training, action, SETTINGS)["spec"]["template"]
    document = json.loads(pod["metadata"]["annotations"][names.ANNOTATION_DOCUMENT])
    assert document["spec"] == {
        "pipelineConfig": {"uri": URI},
        "optimizer": {"schedule": {"onExtend": "Restart"}},
        "checkpoints": {"storage": {"uri": "s3://runs/trees"}},
        "credentials": credentials,
    }
    environment = {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"]}
    assert "s3://models" in environment["DETECTION_TRAINER_CREDENTIALS"]


def test_what_its_pod_reported_completes_the_spec() -> None:
    status = render_status(plan(Observed(parse_training(at_uri())), SETTINGS, NOW).status)
    ended = ended_pod(
        0, termination_message(0, "Completed", pipeline_config=pack(config_text())), name=CHECK
    )
    job = check_job(ended, complete=True)
    planned = plan(Observed(parse_training(at_uri(status)), (job,)), SETTINGS, NOW).status
    training = parse_training(at_uri(render_status(planned)))
    decided = plan(Observed(training, (job,)), SETTINGS, NOW)
    assert any(isinstance(action, StartAttempt) for action in decided.actions)
    config = decided.status.pipeline_config
    assert config is not None
    assert (config.text, config.uri) == (config_text(), URI)
    assert any("sync_replicas" in note for note in config.passed_over)
    assert decided.status.target_steps == 25000
    document = parse_yaml(document_text(training, None))
    assert "pipelineConfig" not in document["spec"]
    assert document["spec"]["steps"] == 25000


def test_a_config_that_this_operator_cannot_read_is_refused_even_if_its_pod_could() -> None:
    status = pinned(**checked())
    status["pipelineConfig"]["text"] = "model { center_net { } }"
    training = parse_training(at_uri(status))
    assert training.spec is None
    assert "center_net is not supported" in training.invalid


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (at_uri(pinned(**checked())), True),
        (at_uri(pinned()), False),
        (at_uri(pinned(**checked(code=52))), False),
        (at_uri(pinned(**checked(generation=0))), False),
        (at_uri(checked()), False),
        (at_uri(pinned("s3://models/other.config", **checked())), False),
        (at_uri(attempt_status() | pinned()), True),
        (at_uri(attempt_status() | pinned("s3://models/other.config")), False),
        (at_uri(pinned(latestCheckpoint=CHECKPOINT)), True),
        (at_uri(attempt_status(outcome=ENDED) | pinned(**checked(generation=0))), False),
    ],
    ids=[
        "its check passed",
        "at an unknown time",
        "its check failed",
        "an older spec was checked",
        "its text is missing",
        "it is of another address",
        "an attempt runs with it",
        "an attempt runs with that of another address",
        "a checkpoint was made with it",
        "the attempt that had it ended, and the spec is another",
    ],
)
def test_the_text_in_the_status_is_used_where(body: Object, *, read: bool) -> None:
    spec = parse_training(body).spec
    assert spec is not None
    assert isinstance(spec, UnreadSpec) is not read


@pytest.fixture
def api() -> FakeCluster:
    return FakeCluster()
