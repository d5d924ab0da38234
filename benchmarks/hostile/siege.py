"""All attacks of the hostile tenant at once, for as long as a training lives beside them."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread

from detection_trainer.contract.runtime import REPORT_PATH
from sandbox.attacks.hostile_pod import Hostile
from sandbox.attacks.tenant import TEMPLATES, Tenant, hostile_training
from sandbox.samples.trainings import training
from sandbox.site.kube import MERGE, TRAININGS, ApiError, Object

FLOODS = ("half_open", "large_headers", "slow_body")
CONNECTIONS, FLOOD_S = 600, 8.0
BEGIN_S = 180.0
"""Within which every attack has begun, on two busy cores."""
REPORTS = 40
OBJECTS, OBJECT_PAUSE_S = 12, 0.1
CONFIG_MAPS, CONFIG_BYTES, CONFIG_PAUSE_S = 4, 1_000_000, 1.0
NOWHERE = {"nodeSelector": {"detectiontraining.dev/no-such-node": "here"}}
REPORT: Object = {
    "attempt": 1,
    "sequence": 1,
    "time": "2026-11-28T10:00:00Z",
    "step": 1,
    "targetSteps": 100,
    "resumedFromStep": 0,
}


@dataclass
class Siege:
    """What attacks, and how much it has done so far."""

    tenant: Tenant
    pod: Hostile
    done: Counter[str] = field(default_factory=Counter)
    _ended: Event = field(default_factory=Event)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Attack in all ways for as long as the context lasts."""
        self._ended.clear()
        attacks = (self._flood, self._report, self._write_objects, self._write_config_maps)
        threads = [Thread(target=attack, name=attack.__name__) for attack in attacks]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _flood(self) -> None:
        for kind in itertools.cycle(FLOODS):
            if self._ended.is_set():
                return
            answer = self.pod.flood(kind, connections=CONNECTIONS, seconds=FLOOD_S)
            self.done["connections"] += answer["opened"]

    def _report(self) -> None:
        """Report for trainings that do not exist."""
        while not self._ended.is_set():
            path = REPORT_PATH.format(namespace=self.tenant.namespace, name="nobody")
            self.done["reports"] += len(self.pod.post_many(path, REPORT, count=REPORTS))

    def _write_objects(self) -> None:
        for number, template in enumerate(itertools.cycle(TEMPLATES)):
            if self._ended.wait(OBJECT_PAUSE_S):
                return
            # Names come round with other templates: what exists is edited.
            self._write(hostile_training(f"odd-{number % (OBJECTS + 1)}", template), "objects")

    def _write_config_maps(self) -> None:
        """Change large ConfigMaps, and the trainings that name them so that each is read again."""
        for number in itertools.count():
            if self._ended.wait(CONFIG_PAUSE_S):
                return
            name = f"large-{number % CONFIG_MAPS}"
            text = f"# {number}\n" + "model { ssd { } }\n" * (CONFIG_BYTES // 18)
            body = {"metadata": {"name": name}, "data": {"pipeline.config": text}}
            self._try(partial(self._put_config_map, name, body), "ConfigMaps")
            self._touch(name, number)

    def _put_config_map(self, name: str, body: Object) -> None:
        path = f"/api/v1/namespaces/{self.tenant.namespace}/configmaps"
        if self.tenant.kube.find(f"{path}/{name}") is None:
            self.tenant.kube.create(path, body)
        else:
            self.tenant.kube.patch(f"{path}/{name}", body)

    def _touch(self, name: str, number: int) -> None:
        none: Object = {"model": None, "dataset": None, "steps": None, "batchSize": None}
        source = {"configMapKeyRef": {"name": name}}
        more = {"preflight": "Never", "podTemplate": NOWHERE | {"labels": {"n": str(number)}}}
        body = training(name, **none, pipelineConfig=source, **more)
        self._try(partial(self._put_training, name, body), "trainings of ConfigMaps")

    def _put_training(self, name: str, body: Object) -> None:
        path = TRAININGS.format(namespace=self.tenant.namespace)
        if self.tenant.kube.find(f"{path}/{name}") is None:
            self.tenant.kube.create(path, body)
        else:
            self.tenant.kube.patch(f"{path}/{name}", {"spec": body["spec"]})

    def _write(self, body: bytes, what: str) -> None:
        path, kube = TRAININGS.format(namespace=self.tenant.namespace), self.tenant.kube
        name = body.partition(b'"name": "')[2].partition(b'"')[0].decode()

        def write() -> None:
            if kube.find(f"{path}/{name}") is None:
                kube.request("POST", path, body)
            else:
                kube.request("PATCH", f"{path}/{name}", body, MERGE)

        self._try(write, what)

    def _try(self, write: Callable[[], object], what: str) -> None:
        """Count a write; one that the API server refuses is an attempt too."""
        self.done[what] += 1
        with suppress(ApiError):
            write()
            self.done[f"{what} accepted"] += 1


def under_attack_for(siege: Siege, seconds: float) -> None:
    """Wait until every attack has begun, and `seconds` more.

    Raises:
        TimeoutError: one does not begin.
    """
    deadline = time.monotonic() + BEGIN_S
    while {"reports", "objects", "ConfigMaps"} - siege.done.keys():
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"expected all attacks to begin within {BEGIN_S:.0f} s; seen: {siege.done}"
            )
        time.sleep(0.1)
    time.sleep(seconds)
