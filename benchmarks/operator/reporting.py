"""Ten thousand trainers that report: the cost, and the age of what the statuses show."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp

from benchmarks.operator.documents import CHECKPOINT_EVERY, report
from benchmarks.operator.sightings import training_of
from detection_trainer.contract.runtime import REPORT_PATH
from sandbox.simulation.parallel import in_parallel
from sandbox.simulation.surroundings import OPERATED, Surroundings
from sandbox.site.kube import PODS, TRAININGS

EVERY_S = 10.0
PROBE_S = 0.2
CONNECTIONS = 200
WRITES = 'detection_operator_api_requests_total{code="200",verb="patch"}'


@dataclass(slots=True)
class Reporting:
    """The results while trainers reported."""

    trainers: int
    seconds: float = 0.0
    operator_cpu_s: float = 0.0
    status_writes: float = 0.0
    memory_mb: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)
    answer_s: list[float] = field(default_factory=list)
    probe_s: list[float] = field(default_factory=list)
    """The API server's latency of a small read beside all this."""
    age_s: list[float] = field(default_factory=list)
    """The age of the content of each status, at the end."""


async def reporting(here: Surroundings, names: list[str], seconds: float) -> Reporting:
    """Let the running trainings `names` report every EVERY_S for `seconds`."""
    tokens = await _tokens(here, set(names))
    seen = Reporting(len(names))
    # Checkpoints are spread over time, as if each training had begun at another time.
    sent = Counter({name: number % CHECKPOINT_EVERY for number, name in enumerate(names)})
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def post(name: str) -> None:
            sent[name] += 1
            path = REPORT_PATH.format(namespace=OPERATED, name=name)
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            started = time.monotonic()
            body = report(name, sent[name])
            async with session.post(here.operator.url + path, data=body, headers=headers) as answer:
                await answer.read()
            seen.answers[answer.status] += 1
            seen.answer_s.append(time.monotonic() - started)

        # The first report of a training is written at once: it is not the steady state.
        await in_parallel(post, names)
        seen.answer_s.clear()
        seen.answers.clear()
        writes, cpu_s = here.operator.metric(WRITES), here.operator.cpu_s()
        probing = asyncio.create_task(_probe(here, seen))
        started = time.monotonic()
        await _on_schedule(post, names, started + seconds)
        seen.seconds = time.monotonic() - started
        seen.operator_cpu_s = here.operator.cpu_s() - cpu_s
        probing.cancel()
        seen.status_writes = here.operator.metric(WRITES) - writes
        seen.memory_mb = here.operator.memory_mb()
        await _read_ages(here, seen)
    return seen


Post = Callable[[str], Coroutine[None, None, None]]


async def _on_schedule(post: Post, names: list[str], until: float) -> None:
    """Post for each name every EVERY_S, spread evenly, whether or not earlier posts have ended."""
    gap_s = EVERY_S / len(names)
    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while True:
            for name in names:
                now = time.monotonic()
                if now >= until:
                    return
                if due > now:
                    await asyncio.sleep(due - now)
                due += gap_s
                group.create_task(post(name))


async def _tokens(here: Surroundings, names: set[str]) -> dict[str, str]:
    """Return a bound token for the pod of each training."""
    found = {}
    async for pod in here.client.items(PODS.format(namespace=OPERATED)):
        name, metadata = training_of(pod), pod["metadata"]
        if name in names:
            found[name] = here.signer.sign(OPERATED, metadata["name"], metadata["uid"])
    return found


async def _probe(here: Surroundings, seen: Reporting) -> None:
    while True:
        started = time.monotonic()
        await here.client.get("/api/v1/namespaces/default")
        seen.probe_s.append(time.monotonic() - started)
        await asyncio.sleep(PROBE_S)


async def _read_ages(here: Surroundings, seen: Reporting) -> None:
    async for training in here.client.items(TRAININGS.format(namespace=OPERATED)):
        progress = (training.get("status") or {}).get("progress")
        if progress is not None:
            at = datetime.fromisoformat(progress["reportedAt"])
            seen.age_s.append((datetime.now(UTC) - at).total_seconds())
