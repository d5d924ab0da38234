"""A new CRD refuses more. What is stored can still be served, suspended, extended and corrected.

Kubernetes does not check an unchanged field again. The rules of the whole spec compare with the
stored object instead (`cel_for_new`).
"""

import copy
import secrets
import time
from collections.abc import Iterator
from typing import Any

import pytest

from detection_operator.api.crd import build_crd
from detection_operator.api.v1alpha1 import GROUP, PLURAL
from detection_trainer.contract.rules import CEL_KEY
from sandbox.samples.trainings import changed, training
from sandbox.site.crd import install_crd
from sandbox.site.kube import CRDS, NAMESPACES, ApiError, Kube, Object

APART = f"upgrade.{GROUP}"
"""The group of this test: nothing else is affected by its CRDs."""
ENFORCED_WITHIN_S = 60
SCHEDULE = "spec.optimizer.schedule"
BASE = training()

STARTED: Object = {
    "observedGeneration": 1,
    "attemptCount": 1,
    "latestCheckpoint": {
        "step": 3,
        "uri": "s3://runs/trees/step-00000003",
        "digest": "sha256:" + "0" * 64,
        "savedAt": "2026-01-01T00:00:00Z",
    },
}

STORED: dict[str, Object] = {
    "evaluations without data": changed(BASE, "spec.evaluation.everySteps", 10),
    "sample images without data": changed(BASE, "spec.evaluation.sampleImages", 8),
    "best checkpoints without data": changed(BASE, "spec.checkpoints.keepBest", 2),
    "a warm-up longer than the run": changed(BASE, SCHEDULE, {"warmupSteps": 1000}),
    "boundaries that fall": changed(BASE, SCHEDULE, {"type": "step", "boundaries": [20, 10]}),
    "the decay of a constant rate": changed(BASE, SCHEDULE, {"type": "constant", "decaySteps": 50}),
    "the epsilon of another optimizer": changed(BASE, "spec.optimizer", {"epsilon": 0.1}),
    "another number of classes": changed(BASE, "spec.dataset.numClasses", 2),
    "data in a short bucket": changed(BASE, "spec.dataset.train.uri", "s3://a/b"),
    "more data in a short bucket": changed(
        BASE, "spec.dataset.train.additionalUris", ["s3://data/b", "s3://a/b"]
    ),
    "checkpoints in a short bucket": changed(BASE, "spec.checkpoints.storage.uri", "s3://a/b"),
    "weights in a short bucket": changed(
        BASE, "spec.restore", {"mode": "full", "from": {"uri": "s3://a/b"}}
    ),
    "crossed factors": changed(
        BASE, "spec.augmentation", [{"randomAdjustContrast": {"minDelta": 2, "maxDelta": 1}}]
    ),
    "a crossed crop": changed(
        BASE, "spec.augmentation", [{"randomCropImage": {"minArea": 0.9, "maxArea": 0.5}}]
    ),
}
NAMES = {about: about.replace(" ", "-") for about in STORED}


def apart(document: Object) -> Object:
    return {**document, "apiVersion": document["apiVersion"].replace(GROUP, APART, 1)}


def crd_apart() -> Object:
    """Return the CRD of this version, in the group of this test."""
    crd = build_crd()
    crd["metadata"]["name"] = f"{PLURAL}.{APART}"
    crd["spec"]["group"] = APART
    names = crd["spec"]["names"]
    names |= {"shortNames": [], "categories": []}
    return crd


def without_rules(schema: Any) -> Any:
    """Return a schema as an earlier version may have had it: with none of the rules."""
    if isinstance(schema, list):
        return [without_rules(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: without_rules(value) for key, value in schema.items() if key != CEL_KEY}


def refusal(kube: Kube, collection: str, document: Object) -> str:
    try:
        kube.create(collection, apart(document), dry_run=True)
    except ApiError as error:
        return error.message
    return ""


@pytest.fixture(scope="module")
def upgraded(api: Kube) -> Iterator[str]:
    """Store trainings under a CRD without rules, then install that of this version.

    Returns the path of the collection.
    """
    namespace = f"t-{secrets.token_hex(4)}"
    api.create(NAMESPACES, {"metadata": {"name": namespace}})
    collection = f"/apis/{APART}/v1alpha1/namespaces/{namespace}/{PLURAL}"
    install_crd(api, without_rules(crd_apart()))
    for about, document in {"valid": BASE, **STORED}.items():
        named = apart(copy.deepcopy(document))
        named["metadata"]["name"] = NAMES.get(about, about)
        create_once_served(api, collection, named)
        api.patch(f"{collection}/{named['metadata']['name']}/status", {"status": STARTED})
    install_crd(api, crd_apart())
    deadline = time.monotonic() + ENFORCED_WITHIN_S
    while not refusal(api, collection, changed(BASE, "spec.dataset.train.uri", "s3://a/b")):
        assert time.monotonic() < deadline, "the rules of the new CRD are not enforced"
    yield collection
    api.delete(f"{CRDS}/{PLURAL}.{APART}")
    api.delete(f"{NAMESPACES}/{namespace}")


def create_once_served(kube: Kube, collection: str, document: Object) -> None:
    """Create an object; a CRD that is established may not be served for a moment."""
    deadline = time.monotonic() + ENFORCED_WITHIN_S
    while True:
        try:
            kube.create(collection, document)
        except ApiError:
            if time.monotonic() > deadline:
                raise
        else:
            return


@pytest.fixture(params=STORED, ids=str)
def stored(request: pytest.FixtureRequest, upgraded: str) -> str:
    """Return the path of a stored training that would be refused today."""
    return f"{upgraded}/{NAMES[request.param]}"


def test_would_be_refused_today(api: Kube, upgraded: str, stored: str) -> None:
    about = next(about for about, name in NAMES.items() if stored.endswith(f"/{name}"))
    assert refusal(api, upgraded, STORED[about])


def test_its_status_is_written(api: Kube, stored: str) -> None:
    assert api.patch(f"{stored}/status", {"status": {"step": 20}})["status"]["step"] == 20


def test_its_labels_and_finalizers_are_edited(api: Kube, stored: str) -> None:
    edited = {"labels": {"team": "forest"}, "finalizers": ["example.com/held"]}
    assert api.patch(stored, {"metadata": edited})["metadata"]["labels"] == {"team": "forest"}
    assert "finalizers" not in api.patch(stored, {"metadata": {"finalizers": None}})["metadata"]


def test_it_is_suspended_and_resumed(api: Kube, stored: str) -> None:
    assert api.patch(stored, {"spec": {"suspend": True}})["spec"]["suspend"] is True
    assert api.patch(stored, {"spec": {"suspend": False}})["spec"]["suspend"] is False


def test_it_is_extended(api: Kube, stored: str) -> None:
    more = {"steps": 200, "optimizer": {"schedule": {"onExtend": "Restart"}}}
    assert api.patch(stored, {"spec": more})["spec"]["steps"] == 200


NEEDS_DATA: dict[str, Object] = {
    "evaluations without data": {"evaluation": {"everySteps": 10}},
    "best checkpoints without data": {"checkpoints": {"keepBest": 2}},
}
CORRECT: Object = {"evaluation": {"everySteps": None}, "checkpoints": {"keepBest": 1}}


@pytest.mark.parametrize(("about", "wrong"), NEEDS_DATA.items(), ids=NEEDS_DATA)
def test_once_corrected_it_stays_correct(
    api: Kube, upgraded: str, about: str, wrong: Object
) -> None:
    path = f"{upgraded}/{NAMES[about]}"
    api.patch(path, {"spec": CORRECT})
    with pytest.raises(ApiError, match=r"set dataset\.validation"):
        api.patch(path, {"spec": wrong})


@pytest.mark.parametrize("wrong", NEEDS_DATA.values(), ids=NEEDS_DATA)
def test_a_valid_one_is_not_made_invalid(api: Kube, upgraded: str, wrong: Object) -> None:
    with pytest.raises(ApiError, match=r"set dataset\.validation"):
        api.patch(f"{upgraded}/valid", {"spec": wrong})
