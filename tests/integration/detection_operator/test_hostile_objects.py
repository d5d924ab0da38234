"""Random objects, applied and edited while trainings run, delay none of the trainings.

All trainings run before the first object is applied and complete after the last one was edited.
`HOSTILE_OBJECTS` and `HOSTILE_TRAININGS` set the numbers; `make chaos-objects` runs the full size.
"""

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
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
TRAININGS = int(os.environ.get("HOSTILE_TRAININGS", "20"))
TIMEOUT_S = 300 + 2 * OBJECTS
STEPS = (20, 40, 60, 80)
"""What each training reports, spread over the writes of the objects."""
KINDS = st.sampled_from(["training", "training", "job"])
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


@dataclass(frozen=True)
class Odd:
    """One random object: what it is applied with, and what it is edited to."""

    kind: str
    spec: Any
    edited: Any
    status: Any


@dataclass
class Neighbours:
    """Writes odd objects beside the trainings, and counts what the API server accepted."""

    scene: Scene
    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)

    def write(self, number: int, odd: Odd) -> None:
        """Apply one object, then edit it."""
        name = f"odd-{number}"
        if odd.kind == "job":
            self._try("create job", "POST", self.scene.collection("jobs"), _job(name))
            label = {names.LABEL_ATTEMPT: "0", names.LABEL_TRAINING: f"mine-{number % TRAININGS}"}
            edit = {"metadata": {"labels": label}}
            self._try("edit job", "PATCH", f"{self.scene.collection('jobs')}/{name}", edit)
            return
        path, body = self.scene.path(name), training(name, podTemplate=NOWHERE)
        odd_body = body | {
            "spec": body["spec"] | odd.spec if isinstance(odd.spec, dict) else odd.spec
        }
        if not self._try("create training", "POST", self.scene.path("").rstrip("/"), odd_body):
            # So that there is something to edit.
            self._try("create plain training", "POST", self.scene.path("").rstrip("/"), body)
        self._try("edit spec", "PATCH", path, {"spec": odd.edited})
        self._try("edit status", "PATCH", f"{path}/status", {"status": odd.status})

    def _try(self, what: str, method: str, path: str, body: Object) -> bool:
        kind = MERGE if method == "PATCH" else "application/json"
        try:
            self.scene.kube.request(method, path, api_bytes(body), kind)
        except ApiError:
            self.refused[what] = self.refused.get(what, 0) + 1
            return False
        self.accepted[what] = self.accepted.get(what, 0) + 1
        return True


def _job(name: str) -> Object:
    """Return a Job that refers to a training as ours do, with random labels."""
    labels = {names.LABEL_TRAINING: name, names.LABEL_TRAINING_UID: name, names.LABEL_ATTEMPT: "x1"}
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    contained = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": names.CONTAINER, "image": "x", "securityContext": contained}
    pod = {"restartPolicy": "Never", "securityContext": security, "containers": [container]}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod | NOWHERE}},
    }


@dataclass(frozen=True)
class Played:
    """The trainer of one training, of which the test decides when it reports."""

    operator: RunningOperator
    scene: Scene
    name: str
    pod: Object

    @classmethod
    def start(cls, operator: RunningOperator, scene: Scene, name: str) -> "Played":
        """Wait for the training's pod and run it."""
        pod = scene.wait_attempt(1, name)
        scene.run_pod(pod)
        return cls(operator, scene, name, pod)

    def report(self, step: int, **more: Any) -> None:
        """Report until the operator acknowledges it."""
        body = report(step, step, **saved(step, name=self.name), **more)
        # Tokens expire during a long run; a kubelet renews them too.
        token, where = self.scene.token(self.pod), (self.scene.namespace, self.name)
        self.operator.wait_until(
            lambda: self.operator.report(*where, token, body)[0] == 200, f"hearing {self.name}"
        )

    def complete(self) -> None:
        """Report the end, end the pod, and wait until the training is complete."""
        self.report(100, **ended(0, "Completed"))
        self.scene.end_pod(self.pod, 0, last_word(0, "Completed"))
        what = f"{self.name} is complete"
        self.scene.wait(lambda status: status.get("phase") == "Complete", what, self.name)


def random_objects(count: int) -> list[Odd]:
    """Return what to apply, the same each time."""
    found: list[Odd] = []

    @seed(20261124)
    @settings(
        max_examples=count,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.builds(Odd, KINDS, SPECS, SPECS, STATUSES))
    def draw(odd: Odd) -> None:
        found.append(odd)

    draw()
    return found


@pytest.mark.timeout(TIMEOUT_S)
def test_trainings_complete_beside_random_objects(operator: RunningOperator, scene: Scene) -> None:
    odd, objects = Neighbours(scene), random_objects(OBJECTS)
    mine = [f"mine-{number}" for number in range(TRAININGS)]
    share = -(-len(objects) // len(STEPS))
    with ThreadPoolExecutor(max_workers=4) as pool:
        for name in mine:
            scene.apply(name, preflight="Never")
        trainers = list(pool.map(lambda name: Played.start(operator, scene, name), mine))
        for turn, step in enumerate(STEPS):
            reporting = [pool.submit(trainer.report, step) for trainer in trainers]
            for number in range(turn * share, min((turn + 1) * share, len(objects))):
                odd.write(number, objects[number])
            for reported in reporting:
                reported.result()
        for completed in [pool.submit(trainer.complete) for trainer in trainers]:
            completed.result()
    summary = f"{len(objects)} objects; accepted: {odd.accepted}; refused: {odd.refused}"
    logger.info("%s; %d quarantined", summary, quarantined(operator))
    assert len(objects) == OBJECTS
    assert sum(odd.accepted.values()) > OBJECTS, summary
    assert operator.error is None
    assert operator.get("/healthz")[0] == operator.get("/readyz")[0] == 200
    assert not [name for name in mine if scene.training(name)["status"]["attemptCount"] != 1]


def quarantined(operator: RunningOperator) -> float:
    """Return how many versions of objects the operator could not read."""
    lines = operator.get("/metrics")[1].splitlines()
    counted = "detection_operator_quarantines_total{"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counted))
