"""A burst: many trainings at once, until every Job exists; and the minimum time for that.

The minimum is the time of a client that makes the same writes itself, as fast as the API server
accepts them: the training, its Job, its status.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.operator.documents import Object, training
from benchmarks.operator.sightings import sightings
from detection_operator.cluster.observe.parse import parse_training, render_status
from detection_operator.core.actions import StartAttempt
from detection_operator.core.plan import plan
from detection_operator.core.state import Observed, PolicySettings
from detection_operator.manifests import Manifests
from sandbox.simulation.parallel import in_parallel
from sandbox.simulation.surroundings import BARE, OPERATED, Surroundings
from sandbox.site.kube import JOBS, TRAININGS

JSON_PATCH = "application/json-patch+json"
SETTINGS = PolicySettings("detection-trainer:none", "http://127.0.0.1:1")
UID, NAME = "00000000-aaaa-bbbb-cccc-000000000000", "the-name-of-a-training"


@dataclass(frozen=True, slots=True)
class Burst:
    """How long a burst took."""

    count: int
    seconds: float

    @property
    def rate(self) -> float:
        """Trainings per second."""
        return self.count / self.seconds


async def operated(
    here: Surroundings, names: list[str], document: Callable[[str], Object] = training
) -> Burst:
    """Apply all at once, and wait until the operator has created every Job."""
    path = TRAININGS.format(namespace=OPERATED)
    async with sightings(here.client, JOBS.format(namespace=OPERATED)) as jobs:
        started = time.monotonic()

        async def apply(name: str) -> None:
            await here.client.create(path, json.dumps(document(name)).encode())

        await in_parallel(apply, names)
        ended = await jobs.wait(names)
    return Burst(len(names), ended - started)


async def bare(here: Surroundings, names: list[str]) -> Burst:
    """Make the same writes without an operator."""
    path, jobs = TRAININGS.format(namespace=BARE), JOBS.format(namespace=BARE)
    job_template, status = _templates()
    started = time.monotonic()

    async def write(name: str) -> None:
        answer = await here.client.create(path, json.dumps(training(name)).encode())
        metadata = json.loads(answer)["metadata"]
        uid: str = metadata["uid"]
        job = job_template.replace(NAME, name).replace(UID, uid).replace(UID[:8], uid[:8])
        await here.client.create(jobs, job.encode())
        patch = [
            {"op": "add", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]}
        ]
        patch.append({"op": "add", "path": "/status", "value": status})
        await here.client.send("PATCH", f"{path}/{name}/status", patch, JSON_PATCH)

    await in_parallel(write, names)
    return Burst(len(names), time.monotonic() - started)


def _templates() -> tuple[str, dict[str, object]]:
    """Return the Job and the status that the operator would write first."""
    body = training(NAME)
    stamp = datetime.now(UTC)
    body["metadata"] |= {"namespace": BARE, "uid": UID, "resourceVersion": "1", "generation": 1}
    body["metadata"]["creationTimestamp"] = stamp.isoformat()
    parsed = parse_training(body)
    answer = plan(Observed(parsed), SETTINGS, stamp)
    start = next(a for a in answer.actions if isinstance(a, StartAttempt))
    return json.dumps(Manifests(SETTINGS).job(parsed, start)), render_status(answer.status)
