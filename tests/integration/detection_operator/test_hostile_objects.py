"""Random objects, applied and edited while trainings run, delay none of the trainings.

`HOSTILE_OBJECTS` and `HOSTILE_TRAININGS` in the environment ask for more than `make test` has.
"""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from detection_operator import names
from detection_operator.api.crd import build_crd
from sandbox.samples.trainings import training
from sandbox.site.kube import MERGE, ApiError
from tests.support.cluster.operator_fixtures import NOWHERE, Scene, ended, last_word, report, saved
from tests.support.cluster.running_operator import RunningOperator
from tests.support.operator.hostile import VALUES, api_bytes, damaged, whole_training
from tests.support.operator.schema_values import values_of

Object = dict[str, Any]
logger = logging.getLogger(__name__)

OBJECTS = int(os.environ.get("HOSTILE_OBJECTS", "150"))
TRAININGS = int(os.environ.get("HOSTILE_TRAININGS", "10"))
STEPS = (20, 40, 60, 80)
KINDS = st.sampled_from(["training", "training", "status", "job"])
NAMES = 25
"""Of the random objects: later ones edit existing ones."""
[VERSION] = build_crd()["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]["properties"]
TEMPLATES = values_of(SCHEMA["spec"]["properties"]["podTemplate"])
STATUSES = values_of(SCHEMA["status"])
FIELDS = st.sampled_from(sorted(SCHEMA["spec"]["properties"])).flatmap(
    lambda name: st.tuples(st.just(name), values_of(SCHEMA["spec"]["properties"][name]))
)
SPECS = (
    FIELDS.map(lambda field: dict([field]))
    | TEMPLATES.map(lambda template: {"podTemplate": template})
    | damaged(whole_training()).map(lambda body: body.get("spec", {}))
    | st.fixed_dictionaries({"podTemplate": st.fixed_dictionaries({"affinity": VALUES})})
)


@dataclass
class Neighbours:
    """Writes random objects beside the trainings, and counts those that the API server accepted."""

    scene: Scene
    taken: int = 0
    refused: int = 0
    kinds: dict[str, int] = field(default_factory=dict)

    def write(self, kind: str, number: int, spec: Any, status: Any) -> None:
        """Apply or edit one object."""
        name = f"odd-{number}"
        try:
            self._write(kind, name, spec, status)
        except ApiError:
            self.refused += 1
        else:
            self.taken += 1
            self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def _write(self, kind: str, name: str, spec: Any, status: Any) -> None:
        kube, path = self.scene.kube, self.scene.path(name)
        if kind == "status":
            kube.request("PATCH", f"{path}/status", api_bytes({"status": status}), MERGE)
        elif kind == "job":
            kube.request("POST", self.scene.collection("jobs"), api_bytes(_job(name)))
        elif kube.find(path) is None:
            body = training(name)
            fields = {"podTemplate": NOWHERE}
            body["spec"] = body["spec"] | fields | spec if isinstance(spec, dict) else spec
            kube.request("POST", self.scene.path("").rstrip("/"), api_bytes(body))
        else:
            kube.request("PATCH", path, api_bytes({"spec": spec}), MERGE)


def _job(name: str) -> Object:
    """Return a Job that refers to a training as ours do, with random labels."""
    labels = {names.LABEL_TRAINING: name, names.LABEL_TRAINING_UID: name, names.LABEL_ATTEMPT: "x1"}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    contained = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": names.CONTAINER, "image": "x", "securityContext": contained}
    pod = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {
        "metadata": {"generateName": f"{name}-", "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod | NOWHERE}},
    }


def complete(operator: RunningOperator, scene: Scene, name: str) -> None:
    """Play the trainer of one training to its end."""
    pod = scene.wait_attempt(1, name)
    scene.run_pod(pod)
    token = scene.token(pod)
    for sequence, step in enumerate(STEPS, start=1):
        body = report(step, sequence, **saved(step, name=name))
        _require_acknowledged(operator, scene, name, token, body)
    done = report(100, len(STEPS) + 1, **saved(100, name=name), **ended(0, "Completed"))
    _require_acknowledged(operator, scene, name, token, done)
    scene.end_pod(pod, 0, last_word(0, "Completed"))
    scene.wait(lambda status: status.get("phase") == "Complete", f"{name} is complete", name)


def _require_acknowledged(
    operator: RunningOperator, scene: Scene, name: str, token: str, body: Object
) -> None:
    """Report until it is acknowledged."""
    operator.wait_until(
        lambda: operator.report(scene.namespace, name, token, body)[0] == 200,
        f"the report of {name} is acknowledged",
    )


def random_writes(count: int) -> list[tuple[str, int, Any, Any]]:
    """Return what to write, the same each time."""
    found: list[tuple[str, int, Any, Any]] = []

    @seed(20261124)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.tuples(KINDS, st.integers(0, NAMES - 1), SPECS, STATUSES))
    def draw(write: tuple[str, int, Any, Any]) -> None:
        found.append(write)

    draw()
    return found


def test_trainings_complete_beside_random_objects(operator: RunningOperator, scene: Scene) -> None:
    odd = Neighbours(scene)

    mine = [f"mine-{number}" for number in range(TRAININGS)]
    with ThreadPoolExecutor(max_workers=4) as trainers:
        for name in mine:
            scene.apply(name, preflight="Never")
        playing = [trainers.submit(complete, operator, scene, name) for name in mine]
        for kind, number, spec, status in random_writes(OBJECTS):
            odd.write(kind, number, spec, status)
        for played in playing:
            played.result()
    assert operator.error is None
    assert odd.taken > OBJECTS // 5, f"{odd.taken} taken, {odd.refused} refused: {odd.kinds}"
    assert operator.get("/healthz")[0] == operator.get("/readyz")[0] == 200
    logger.info("%d taken, %d refused, %s", odd.taken, odd.refused, odd.kinds)
