"""The owner of a Job or a pod: no label and no reference to another namespace proves it."""

from typing import Any

import pytest

from detection_operator.cluster.observe.ownership import (
    Ref,
    is_controlled_by,
    job_of_pod,
    training_of_job,
)
from tests.support.operator.cluster_objects import JOB_UID, NAMESPACE, REF, UID, job, pod

OURS = {"kind": "DetectionTraining", "apiVersion": "detectiontraining.dev/v1alpha1", "uid": UID}
OF_BATCH = {"kind": "Job", "apiVersion": "batch/v1", "uid": JOB_UID}


def test_the_controller_is_in_the_namespace_of_the_object() -> None:
    assert training_of_job(job()) == REF
    assert job_of_pod(pod()) == Ref(NAMESPACE, JOB_UID)
    assert training_of_job(job(namespace="team-a")) == Ref("team-a", UID) != REF
    assert is_controlled_by(job(), REF)
    assert not is_controlled_by(job(namespace="team-a"), REF)


@pytest.mark.parametrize(
    "references",
    [
        pytest.param([], id="labels alone"),
        pytest.param([OURS], id="an owner that does not control"),
        pytest.param([{**OURS, "controller": False}], id="one that is no controller"),
        pytest.param([{**OURS, "kind": "CronJob", "controller": True}], id="another kind"),
        pytest.param(
            [{**OURS, "apiVersion": "detectiontraining.dev.evil/v1", "controller": True}],
            id="another group that begins alike",
        ),
        pytest.param([{**OURS, "apiVersion": "v1", "controller": True}], id="the core group"),
        pytest.param([{**OURS, "uid": "", "controller": True}], id="no uid"),
    ],
)
def test_a_job_is_no_trainings_by(references: list[dict[str, Any]]) -> None:
    assert training_of_job(job(ownerReferences=references)) is None


@pytest.mark.parametrize(
    "references",
    [
        pytest.param([], id="labels alone"),
        pytest.param([OF_BATCH], id="an owner that does not control"),
        pytest.param([{**OF_BATCH, "kind": "ReplicaSet", "controller": True}], id="another kind"),
        pytest.param([{**OF_BATCH, "apiVersion": "a.dev/v1", "controller": True}], id="group"),
    ],
)
def test_a_pod_is_no_jobs_by(references: list[dict[str, Any]]) -> None:
    assert job_of_pod(pod(ownerReferences=references)) is None
