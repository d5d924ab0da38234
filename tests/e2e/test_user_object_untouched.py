"""The operator writes the status, and nothing else of the user's resource."""

from http import HTTPStatus

import pytest

from sandbox.site.kube import ApiError, Object
from tests.support.cluster.site import LiveTraining, Workspace

LABELS = {"team": "vision"}
ANNOTATIONS = {"example.com/ticket": "42"}


@pytest.fixture(scope="module")
def applied(shared_workspace: Workspace) -> Object:
    document = shared_workspace.document("untouched", steps=20)
    document["metadata"] |= {"labels": dict(LABELS), "annotations": dict(ANNOTATIONS)}
    training = shared_workspace.apply(document)
    created = shared_workspace.kube.get(training.path)
    training.wait_for_phase("Complete")
    return created


@pytest.fixture(scope="module")
def training(applied: Object, shared_workspace: Workspace) -> LiveTraining:
    return LiveTraining(shared_workspace, applied["metadata"]["name"])


@pytest.fixture(scope="module")
def ended(training: LiveTraining) -> Object:
    return training.kube.get(training.path)


def test_the_spec_and_its_generation_are_the_users(applied: Object, ended: Object) -> None:
    assert ended["spec"] == applied["spec"]
    assert ended["metadata"]["generation"] == 1


def test_labels_annotations_and_finalizers_are_the_users(ended: Object) -> None:
    assert ended["metadata"]["labels"] == LABELS
    assert ended["metadata"]["annotations"] == ANNOTATIONS
    assert "finalizers" not in ended["metadata"]
    assert "ownerReferences" not in ended["metadata"]


def test_the_operator_manages_fields_of_the_status_alone(ended: Object) -> None:
    managed = ended["metadata"]["managedFields"]
    by_operator = [m for m in managed if m.get("subresource") == "status"]
    assert by_operator
    assert all(m["fieldsV1"].keys() == {"f:status"} for m in by_operator)
    others = [m for m in managed if m not in by_operator]
    assert all("f:status" not in m["fieldsV1"] for m in others)


def test_an_edited_document_is_refused(training: LiveTraining) -> None:
    (job,) = training.jobs
    path = training.workspace.path("jobs", job["metadata"]["name"], api="apis/batch/v1")
    document = {"annotations": {"detectiontraining.dev/document": "{}"}}
    with pytest.raises(ApiError, match="immutable") as refused:
        training.kube.patch(path, {"spec": {"template": {"metadata": document}}})
    assert refused.value.status == HTTPStatus.UNPROCESSABLE_ENTITY
