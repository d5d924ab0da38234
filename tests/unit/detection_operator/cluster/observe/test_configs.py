"""Configurations are read once, kept within a number of bytes, and read in a thread where long."""

import asyncio
import threading

import pytest

from detection_operator.cluster.api.resources import CONFIG_MAPS, TRAININGS, Key
from detection_operator.cluster.observe import gather
from detection_operator.cluster.observe.cache import Cache
from detection_operator.cluster.observe.configs import ConfigCache
from detection_operator.cluster.observe.gather import Gatherer
from detection_operator.cluster.observe.queue import KeyQueue
from detection_operator.cluster.observe.warnings import WarningEvents
from detection_trainer.contract.pipeline_config.mapping import PipelineConfig, read_pipeline_config
from detection_trainer.contract.pipeline_config.reading import PipelineConfigError
from detection_trainer.contract.spec import MAX_PIPELINE_CONFIG
from tests.support.operator.cluster_objects import stored_training
from tests.support.operator.fake_cluster import FakeCluster
from tests.support.trainer.pipeline_configs import config_text

TREES = Key("vision", "trees")


def comment(length: int, mark: str = "x") -> str:
    """Return a configuration with a comment that is so long."""
    return f"{config_text()}\n#{mark}{'x' * (length - 1)}\n"


def test_the_texts_that_were_used_last_are_kept_by_their_bytes() -> None:
    read = ConfigCache(max_bytes=50_000)
    first, second, third = (comment(20_000, mark) for mark in "abc")
    for text in (first, second, first, third):
        read(text)
    assert read.misses == 3
    assert (first in read, second in read, third in read) == (True, False, True)


def test_what_does_not_hold_is_read_once_too() -> None:
    read = ConfigCache()
    for _ in range(3):
        with pytest.raises(PipelineConfigError, match="line 1"):
            read("model {")
    assert read.misses == 1


@pytest.mark.parametrize("text", ["a {" * 9000, "a { a <" * 4000, "a: [" * 9000])
def test_a_text_that_is_nested_without_end_is_refused(text: str) -> None:
    with pytest.raises(PipelineConfigError):
        ConfigCache()(text)


def scene(text: str) -> tuple[Gatherer, FakeCluster]:
    api, cache = FakeCluster(), Cache()
    body = stored_training(
        model=None,
        dataset=None,
        steps=None,
        pipelineConfig={"configMapKeyRef": {"name": "trees"}},
    )
    cache.apply(TRAININGS, body)
    api.put(CONFIG_MAPS, {"metadata": {"name": "trees"}, "data": {"pipeline.config": text}})
    return Gatherer(api, cache, WarningEvents(api, KeyQueue())), api


async def test_the_text_of_a_config_map_is_limited_before_it_is_parsed() -> None:
    gatherer, _ = scene("x: 1\n" * 200_000)
    gathered = await gatherer.gather(TREES)
    assert gathered is not None
    assert gathered.observed.training.invalid == (
        f"pipelineConfig: expected at most {MAX_PIPELINE_CONFIG} characters; received 1000000: "
        "take out what does not belong to a pipeline.config."
    )


async def test_a_long_text_is_read_in_a_thread_while_others_are_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text, served, threads = comment(50_000, "t"), threading.Event(), list[threading.Thread]()
    loop, begun = asyncio.get_running_loop(), asyncio.Event()

    def slow(text: str) -> PipelineConfig:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        assert served.wait(10), "the event loop waits for the text"
        return read_pipeline_config(text)

    monkeypatch.setattr(f"{ConfigCache.__module__}.read_pipeline_config", slow)
    gatherer, _ = scene(text)
    gathering = asyncio.create_task(gatherer.gather(TREES))
    await asyncio.wait_for(begun.wait(), 5)
    served.set()
    gathered = await gathering
    assert gathered is not None
    assert gathered.observed.training.invalid == ""
    assert threads != [threading.main_thread()]
    assert len(text) > gather.SMALL_BYTES
