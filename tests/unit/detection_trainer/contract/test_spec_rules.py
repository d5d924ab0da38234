"""What the models refuse in a spec, with messages that name the remedy, as admission does."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from detection_operator.api.crd import build_crd
from detection_operator.api.v1alpha1 import Spec
from detection_trainer.contract.base import dump
from detection_trainer.contract.report import ExportRecord, Restored, VariableCounts
from detection_trainer.contract.rules import CEL_KEY
from detection_trainer.contract.spec import TrainingSpec
from detection_trainer.contract.training import explain, start_problem
from sandbox.samples.trainings import changed, training

BASE = training()
VALIDATED = changed(BASE, "spec.dataset.validation", {"uri": "s3://data/validation-*"})
SCHEDULE = "spec.optimizer.schedule"


def contrast(low: float, high: float) -> Any:
    return [{"randomAdjustContrast": {"minDelta": low, "maxDelta": high}}]


NEVER_READ = {
    "a repeated class": (
        changed(BASE, "spec.dataset.classes", ["tree", "car", "tree"]),
        "received 'tree' as 1 and 3: remove or rename the repeated ones",
    ),
    "another number of classes": (
        changed(BASE, "spec.dataset.numClasses", 2),
        "dataset.classes: expected 2 classes",
    ),
    "a place without a scheme": (
        changed(BASE, "spec.dataset.train.uri", "/data/x"),
        "or file:///PATH, where a bucket's name",
    ),
    "a size with a space": (
        changed(BASE, "spec.checkpoints.storage", {"volumeClaim": {"size": "4 GB"}}),
        "a number and a unit without a space between",
    ),
    "credentials for files": (
        changed(BASE, "spec.credentials", [{"uriPrefix": "file:///", "secretRef": {"name": "s"}}]),
        "file:// needs no credentials; received 'file:///'",
    ),
    "a number below its bound": (
        changed(BASE, "spec.steps", 0),
        "steps: expected at least 1 (received 0)",
    ),
    "a text for a number": (
        changed(BASE, "spec.steps", "many"),
        'steps: expected a whole number (received "many")',
    ),
    "an unknown field": (
        changed(BASE, "spec.stepz", 1),
        "stepz: there is no field of this name: correct or remove it (received 1)",
    ),
}  # fmt: skip
"""Refused in any case: none of these has ever been stored and started."""

NOT_STARTED = {
    "evaluations without data for them": (
        changed(BASE, "spec.evaluation.everySteps", 10),
        ("received evaluation.everySteps: 10 without it: set dataset.validation, or remove "
        "evaluation.everySteps"),
    ),
    "sample images without data for them": (
        changed(BASE, "spec.evaluation.sampleImages", 8),
        "received evaluation.sampleImages: 8 without it",
    ),
    "best checkpoints without evaluations": (
        changed(BASE, "spec.checkpoints.keepBest", 3),
        "received checkpoints.keepBest: 3 without it",
    ),
    "a warm-up longer than the training": (
        changed(changed(BASE, "spec.steps", 6), SCHEDULE, {"warmupSteps": 100}),
        "expected optimizer.schedule.warmupSteps below steps, 6; received 100: lower warmupSteps",
    ),
    "a warm-up as long as the training": (
        changed(BASE, SCHEDULE, {"type": "constant", "warmupSteps": 100}),
        "received 100: lower warmupSteps, or raise steps",
    ),
    "a warm-up and a hold longer than the decay": (
        changed(BASE, SCHEDULE, {"warmupSteps": 30, "holdSteps": 20, "decaySteps": 50}),
        "expected warmupSteps and holdSteps together below decaySteps, 50; received 50",
    ),
    "boundaries in a cosine": (
        changed(BASE, SCHEDULE, {"boundaries": [10]}),
        "received type cosine and boundaries [10]",
    ),
    "a step schedule without boundaries": (
        changed(BASE, SCHEDULE, {"type": "step"}),
        "received type step and boundaries []",
    ),
    "a hold without a cosine": (
        changed(BASE, SCHEDULE, {"type": "constant", "holdSteps": 5}),
        "expected holdSteps only with type cosine; received holdSteps 5 with type constant",
    ),
    "a decay of a constant rate": (
        changed(BASE, SCHEDULE, {"type": "constant", "decaySteps": 50}),
        "expected decaySteps only with type cosine or exponential",
    ),
    "a staircase of a cosine": (
        changed(BASE, SCHEDULE, {"staircase": False}),
        "expected staircase only with type exponential; received staircase False",
    ),
    "a rate of a warm-up that there is not": (
        changed(BASE, SCHEDULE, {"warmupLearningRate": 0.001}),
        "received warmupLearningRate 0.001 without a warm-up",
    ),
    "the decay of another optimizer": (
        changed(BASE, "spec.optimizer", {"name": "adam", "decay": 0.9}),
        "received decay 0.9 with name adam: remove decay, or correct name",
    ),
    "the epsilon of another optimizer": (
        changed(BASE, "spec.optimizer", {"name": "momentum", "epsilon": 0.1}),
        "expected epsilon only with name adam or adamw or rms_prop",
    ),
    "boundaries that fall": (
        changed(BASE, SCHEDULE, {"type": "step", "boundaries": [20, 10]}),
        "expected boundaries in rising order",
    ),
    "a bucket whose name is too short": (
        changed(BASE, "spec.dataset.train.uri", "s3://a/b"),
        ("a bucket's name has 3 to 255 characters (az: 63): letters, digits, dots, hyphens and "
        "underscores; received 's3://a/b'"),
    ),
    "such a bucket in restore": (
        changed(BASE, "spec.restore", {"mode": "full", "from": {"uri": "s3://a/b"}}),
        "characters (az: 63): letters, digits, dots, hyphens and underscores; received 's3://a/b'",
    ),
    "a bucket whose name is too long": (
        changed(BASE, "spec.checkpoints.storage.uri", f"az://{'a' * 64}/x"),
        "a bucket's name has 3 to 255 characters",
    ),
    "crossed levels": (
        changed(BASE, "spec.model.fpn", {"minLevel": 5, "maxLevel": 4}),
        "expected minLevel at or below maxLevel; received minLevel 5 and maxLevel 4",
    ),
    "crossed thresholds": (
        changed(BASE, "spec.model.matcher", {"matchedThreshold": 0.4}),
        "received unmatchedThreshold 0.5 and matchedThreshold 0.4",
    ),
    "crossed factors": (
        changed(BASE, "spec.augmentation", contrast(2.0, 1.0)),
        "received minDelta 2.0 and maxDelta 1.0",
    ),
}  # fmt: skip
"""Refused before the first attempt; a training that started before the check existed is served."""

REFUSED = {**NEVER_READ, **NOT_STARTED}

ACCEPTED = {
    "no sample images without validation": changed(BASE, "spec.evaluation.sampleImages", 0),
    "evaluations with data for them": changed(VALIDATED, "spec.evaluation.everySteps", 10),
    "best checkpoints with evaluations": changed(VALIDATED, "spec.checkpoints.keepBest", 3),
    "a cosine that is longer than the run": changed(
        BASE, SCHEDULE, {"warmupSteps": 100, "decaySteps": 1000}
    ),
    "a bucket of three characters": changed(BASE, "spec.dataset.train.uri", "s3://abc"),
    "a container of Azure": changed(BASE, "spec.dataset.train.uri", "az://$root/x"),
}


def refusal(document: dict[str, Any]) -> str:
    """Return why the training of `document` is not started; empty: it is."""
    try:
        spec = TrainingSpec.model_validate(document["spec"])
    except ValidationError as refused:
        return explain(refused)
    return start_problem(spec) or ""


@pytest.mark.parametrize(("document", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused_in_our_words(document: dict[str, Any], message: str) -> None:
    found = refusal(document)
    assert message in found
    assert not re.search(r"Value error|Input should|instance of|\^", found)


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_is_accepted(document: dict[str, Any]) -> None:
    assert refusal(document) == ""


@pytest.mark.parametrize(("document", "_"), NOT_STARTED.values(), ids=NOT_STARTED.keys())
def test_is_read_where_it_has_started(document: dict[str, Any], _: str) -> None:
    stored = Spec.model_validate(document["spec"])
    assert Spec.model_validate(dump(stored)) == stored


def test_a_source_and_a_checkpoint_in_a_short_bucket_are_reported() -> None:
    counts = VariableCounts(restored=1, fresh=0)
    assert Restored(uri="s3://a/b", variables=counts).uri == "s3://a/b"
    assert (
        ExportRecord(format="SavedModel", step=1, uri="s3://a/b", digest="sha256:" + "0" * 64).uri
        == "s3://a/b"
    )


def schemas(schema: Any) -> Iterator[dict[str, Any]]:
    if isinstance(schema, dict):
        yield schema
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, dict | list):
            yield from schemas(inner)


def test_no_refusal_of_a_spec_quotes_a_regex() -> None:
    root = build_crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found = list(schemas(root["properties"]["spec"]))
    assert [schema for schema in found if isinstance(schema.get("pattern"), str)] == []
    rules = [rule for schema in found for rule in schema.get(CEL_KEY, ())]
    assert len(rules) > 30
    assert [rule for rule in rules if not rule.get("message")] == []
