"""Decides whose a Job or a pod is; the cache, the gatherer and the progress endpoint use it.

Labels and owner references prove nothing by themselves: every user of a namespace may write them,
with the name and the uid of any training. So a uid counts only together with its namespace, and a
pod counts only through its Job:

pod --controller reference, same namespace--> Job --likewise--> DetectionTraining

A Job of one namespace that names a training of another one has no controller here.
"""

from typing import NamedTuple

from detection_operator.api.v1alpha1 import GROUP, KIND
from detection_operator.cluster.api.resources import JOBS, Object, controller_of


class Ref(NamedTuple):
    """An object by its uid, in the one namespace where that uid counts."""

    namespace: str
    uid: str


def ref_of(body: Object) -> Ref:
    """Return the reference to an object itself."""
    return Ref(body["metadata"]["namespace"], body["metadata"]["uid"])


def training_of_job(job: Object) -> Ref | None:
    """Return the DetectionTraining that a Job names as its controller; None if it names none."""
    return _controller(job, KIND, GROUP)


def job_of_pod(pod: Object) -> Ref | None:
    """Return the Job that a pod names as its controller; None if it names none."""
    return _controller(pod, JOBS.kind, JOBS.api_version.partition("/")[0])


def is_controlled_by(body: Object, training: Ref) -> bool:
    """Return whether this training controls an object, for example a Job or a Service."""
    return _controller(body, KIND, GROUP) == training


def _controller(body: Object, kind: str, group: str) -> Ref | None:
    owner = controller_of(body)
    named_group = str(owner.get("apiVersion", "")).partition("/")[0]
    if owner.get("kind") != kind or named_group != group or not owner.get("uid"):
        return None
    # An owner reference has no namespace: it always refers to the object's own.
    return Ref(body["metadata"]["namespace"], str(owner["uid"]))
