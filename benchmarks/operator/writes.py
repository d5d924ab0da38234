"""The number of writes that the operator makes over a training's whole life, by the audit log."""

import asyncio
import json
from collections import Counter

import aiohttp

from benchmarks.operator.documents import report, training
from benchmarks.operator.sightings import sightings, wait_phase
from detection_trainer.contract.runtime import REPORT_PATH
from sandbox.simulation.audit import read_audit
from sandbox.simulation.fake_nodes import end_of
from sandbox.simulation.parallel import in_parallel
from sandbox.simulation.surroundings import OPERATED, Surroundings
from sandbox.site.kube import PODS, TRAININGS

AGENT = "detection-operator"
TIMEOUT_S = 120.0


async def writes_of_a_life(here: Surroundings, names: list[str]) -> dict[str, float]:
    """Return the operator's writes per training, by what was written.

    A life: applied, started, its start and first checkpoint reported, completed and reported.
    """
    path, pods_path = TRAININGS.format(namespace=OPERATED), PODS.format(namespace=OPERATED)
    pods: dict[str, tuple[str, str]] = {}

    async with sightings(here.client, pods_path) as seen, aiohttp.ClientSession() as session:

        async def live(name: str) -> None:
            await here.client.create(path, json.dumps(training(name)).encode())
            await seen.wait([name], TIMEOUT_S)
            async for pod in here.client.items(f"{pods_path}?labelSelector={_label(name)}"):
                metadata = pod["metadata"]
                pods[name] = metadata["name"], metadata["uid"]
            token = here.signer.sign(OPERATED, *pods[name])
            for sequence, ends in ((1, False), (10_000, True)):
                await _post(session, here, name, token, report(name, sequence, ends=ends))
            last_report = report(name, 10_000, ends=True).decode()
            await here.client.merge(f"{pods_path}/{pods[name][0]}", end_of(0, last_report))

        await in_parallel(live, names)
    async with asyncio.timeout(TIMEOUT_S):
        await wait_phase(here.client, path, "Complete", set(names).issubset)
    return _count(here, names)


def _label(name: str) -> str:
    return f"detectiontraining.dev/training={name}"


async def _post(
    session: aiohttp.ClientSession, here: Surroundings, name: str, token: str, body: bytes
) -> None:
    url = here.operator.url + REPORT_PATH.format(namespace=OPERATED, name=name)
    headers = {"Authorization": f"Bearer {token}"}
    async with session.post(url, data=body, headers=headers) as answer:
        answer.raise_for_status()


def _count(here: Surroundings, names: list[str]) -> dict[str, float]:
    """Return the mean over `names`: names of a training's objects begin with its own."""
    found: Counter[str] = Counter()
    for entry in read_audit(here.cluster.audit_log):
        if entry.agent.startswith(AGENT) and entry.namespace == OPERATED:
            found[f"{entry.verb} {entry.resource}"] += 1
    return {what: count / len(names) for what, count in sorted(found.items())}
