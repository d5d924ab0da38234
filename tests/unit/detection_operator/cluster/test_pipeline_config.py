"""A training whose spec is a pipeline.config: read before any pod, and kept once it has begun."""

from datetime import UTC, datetime
from typing import Any

import pytest

from detection_operator.api.conditions import Phase, Reason
from detection_operator.cluster.cache import Cache
from detection_operator.cluster.gather import EVENTS_RECHECK_S, Gathered, Gatherer
from detection_operator.cluster.parse import parse_training
from detection_operator.cluster.resources import CONFIG_MAPS, TRAININGS, Key, Object
from detection_operator.core.plan import plan
from detection_operator.core.state import Observed, PolicySettings
from detection_operator.errors import ForbiddenError
from detection_operator.manifests.document import document_text
from detection_trainer.contract.training import load_yaml
from detection_trainer.contract.training import parse_training as parse_document
from tests.support.cluster_objects import attempt_status, stored_training
from tests.support.fake_cluster import FakeCluster
from tests.support.pipeline_configs import config_text

TREES = Key("vision", "trees")
NOW = datetime(2026, 11, 24, 10, 5, tzinfo=UTC)
NOT_SAID: Object = {"model": None, "dataset": None, "steps": None, "batchSize": None}
SETTINGS = PolicySettings(default_image="trainer:1", report_url="https://operator")
CHECKPOINT = {
    "step": 10,
    "uri": "s3://runs/trees/step-00000010",
    "digest": "sha256:" + "0" * 64,
    "savedAt": "2026-11-24T10:00:00Z",
}


def inline(text: str | None = None, **spec: Any) -> Object:
    source = {"inline": config_text() if text is None else text}
    return stored_training(**{**NOT_SAID, "pipelineConfig": source, **spec})


def referring(status: Object | None = None, **spec: Any) -> Object:
    source = {"configMapKeyRef": {"name": "trees", "key": "pipeline.config"}}
    return stored_training(status=status, **{**NOT_SAID, "pipelineConfig": source, **spec})


def put(api: FakeCluster, text: str, key: str = "pipeline.config") -> None:
    api.put(CONFIG_MAPS, {"metadata": {"name": "trees"}, "data": {key: text}})


async def gather(api: FakeCluster, body: Object) -> Gathered:
    cache = Cache()
    cache.apply(TRAININGS, body)
    found = await Gatherer(api, cache).gather(TREES, NOW)
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


def test_what_is_said_wins() -> None:
    said = {"schedule": {"type": "cosine", "decaySteps": 2500}}
    training = parse_training(inline(steps=50000, batchSize=4, optimizer=said))
    assert training.spec is not None
    assert (training.spec.steps, training.spec.batch_size) == (50000, 4)
    assert training.spec.optimizer.schedule.decay_steps == 2500
    assert training.spec.optimizer.schedule.type == "exponential"


def test_the_document_of_the_trainer_has_all_fields_and_no_configuration() -> None:
    training = parse_training(inline())
    document = load_yaml(document_text(training, None))
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


async def test_the_config_map_is_read_and_told(api: FakeCluster) -> None:
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
async def test_a_config_map_that_is_not_there_is_told_and_looked_for_again(
    api: FakeCluster, key: str | None, message: str
) -> None:
    if key is not None:
        put(api, config_text(), key)
    found = await gather(api, referring())
    assert message in found.observed.training.invalid
    assert found.recheck_after_s == EVENTS_RECHECK_S
    put(api, config_text())
    assert (await gather(api, referring())).observed.training.spec is not None


async def test_one_that_may_not_be_read_is_told(api: FakeCluster) -> None:
    api.failures["get", "configmaps"] = ForbiddenError("GET …", 403, "forbidden")
    found = await gather(api, referring())
    assert "may not read ConfigMap 'trees'" in found.observed.training.invalid


async def test_a_training_that_has_a_checkpoint_keeps_the_text_it_began_with(
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
    outcome = {
        "exitCode": 50,
        "reason": "InvalidConfig",
        "message": "…",
        "finishedAt": "2026-11-24T10:01:00Z",
    }
    ended = attempt_status(outcome=outcome) | {"pipelineConfig": pinned}
    assert steps_of(await gather(api, referring(ended))) == 30000


@pytest.fixture
def api() -> FakeCluster:
    return FakeCluster()
