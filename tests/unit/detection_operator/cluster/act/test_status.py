"""A status is written once, and trainings that wait for it are decided at once."""

from datetime import UTC, datetime
from typing import Any

import pytest

from detection_operator.cluster.act.status import StatusWriter
from detection_operator.cluster.api.resources import TRAININGS, Key
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.queue import KeyQueue
from tests.support.operator.cluster_objects import stored_training
from tests.support.operator.fake_cluster import FakeCluster

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
SOURCE, WAITING, OTHER = (Key("vision", name) for name in ("trees", "waiting", "other"))


class Scene:
    """A source, a training that waits for it or shares its folder, and one that does neither."""

    def __init__(self, waiting: dict[str, Any]) -> None:
        self.api, self.cache, self.queue = FakeCluster(), Cache(), KeyQueue()
        for key, spec in ((SOURCE, {}), (WAITING, waiting), (OTHER, {})):
            body = stored_training(key.name, f"uid-{key.name}", **spec)
            self.cache.apply(TRAININGS, self.api.put(TRAININGS, body))
        self.writer = StatusWriter(self.api, self.cache, self.queue)

    async def queued(self) -> list[Key]:
        return [await self.queue.get() for _ in range(self.queue.depth())]

    async def complete_source(self) -> None:
        record = self.cache.training(SOURCE)
        assert record is not None
        training = record.parse()
        status = training.status.model_copy(update={"phase": "Complete"})
        assert await self.writer.write(training, status)


FROM_SOURCE = {"restore": {"mode": "full", "from": {"trainingRef": {"name": "trees"}}}}
SAME_FOLDER = {"checkpoints": {"storage": {"uri": "s3://runs/trees"}}}


@pytest.mark.parametrize("waiting", [FROM_SOURCE, SAME_FOLDER], ids=["source", "folder"])
async def test_a_write_wakes_the_trainings_that_wait_for_it(waiting: dict[str, Any]) -> None:
    scene = Scene(waiting)
    await scene.complete_source()
    assert await scene.queued() == [WAITING]


@pytest.mark.parametrize("change", ["rewritten", "deleted"])
async def test_a_state_that_was_read_again_wakes_the_waiting_trainings(change: str) -> None:
    scene = Scene(FROM_SOURCE)
    stored = scene.api.find(TRAININGS, "trees")
    assert stored is not None
    if change == "rewritten":
        scene.api.put(TRAININGS, stored)
    else:
        del scene.api.objects["detectiontrainings", "vision", "trees"]
    await scene.writer.refresh(SOURCE)
    assert await scene.queued() == [WAITING]


async def test_an_unreadable_status_wakes_the_waiting_trainings_too() -> None:
    scene = Scene(FROM_SOURCE)
    await scene.writer.report_unreadable(SOURCE, "its status is nonsense", NOW)
    assert await scene.queued() == [WAITING]
