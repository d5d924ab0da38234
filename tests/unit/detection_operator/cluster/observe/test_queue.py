"""The queue of keys, with a clock and a timer of the test's own."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from detection_operator.cluster.api.resources import Key
from detection_operator.cluster.observe.queue import BACKOFF_CAP_S, KeyQueue

A, B, C = Key("vision", "a"), Key("vision", "b"), Key("vision", "c")


@dataclass
class Due:
    at: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Time:
    now: float = 0.0
    due: list[Due] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def later(self, delay_s: float, call: Callable[[], None]) -> Due:
        due = Due(self.now + delay_s, call)
        self.due.append(due)
        return due

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        for due in [d for d in self.due if d.at <= self.now]:
            self.due.remove(due)
            if not due.cancelled:
                due.call()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def queue(time: Time) -> KeyQueue:
    return KeyQueue(clock=time.clock, later=time.later, jitter=lambda: 0.0)


async def taken(queue: KeyQueue) -> list[Key]:
    """Take and finish all that is ready."""
    keys = []
    while queue.depth():
        key = await queue.get()
        keys.append(key)
        queue.done(key)
    return keys


async def test_a_key_added_twice_is_handled_once(queue: KeyQueue) -> None:
    queue.add(A)
    queue.add(A)
    assert await taken(queue) == [A]


async def test_keys_come_in_the_order_in_which_they_were_added(queue: KeyQueue) -> None:
    for key in (B, A, C, A):
        queue.add(key)
    assert await taken(queue) == [B, A, C]


async def test_a_key_in_work_is_given_to_no_second_worker_and_waits_at_the_end(
    queue: KeyQueue,
) -> None:
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    queue.add(B)
    assert await queue.get() == B
    assert queue.depth() == 1
    queue.done(A)
    assert await queue.get() == A


async def test_a_key_that_is_added_all_the_time_gets_only_its_turn(
    queue: KeyQueue,
) -> None:
    others = [Key("vision", f"t{number}") for number in range(5)]
    queue.add(A)
    for key in others:
        queue.add(key)
    taken = []
    for _ in range(12):
        key = await queue.get()
        taken.append(key)
        for _ in range(100):
            queue.add(A)
        queue.add(key)
        queue.done(key)
    assert taken == [A, *others] * 2


async def test_a_taker_waits_until_a_key_comes(queue: KeyQueue) -> None:
    takers = [asyncio.create_task(queue.get()) for _ in range(2)]
    await asyncio.sleep(0)
    queue.add(A)
    queue.add(B)
    assert set(await asyncio.gather(*takers)) == {A, B}


async def test_a_cancelled_taker_loses_no_key(queue: KeyQueue) -> None:
    first, second = (asyncio.create_task(queue.get()) for _ in range(2))
    await asyncio.sleep(0)
    queue.add(A)
    first.cancel()
    assert await second == A


async def test_a_scheduled_key_is_due_at_its_time(queue: KeyQueue, time: Time) -> None:
    queue.schedule(A, 5.0)
    time.pass_by(4.9)
    assert not queue.depth()
    time.pass_by(0.1)
    assert await taken(queue) == [A]


async def test_scheduling_again_replaces_what_was_scheduled(queue: KeyQueue, time: Time) -> None:
    queue.schedule(A, 5.0)
    queue.schedule(A, 60.0)
    time.pass_by(10.0)
    assert not queue.depth()
    queue.schedule(A, 0.0)
    assert await taken(queue) == [A]


async def test_settling_without_a_wish_cancels_the_schedule(queue: KeyQueue, time: Time) -> None:
    queue.schedule(A, 5.0)
    queue.settle(A, None)
    time.pass_by(10.0)
    assert not queue.depth()
    queue.settle(A, 3.0)
    time.pass_by(3.0)
    assert queue.depth() == 1


async def test_failures_in_a_row_double_the_delay_up_to_a_cap(queue: KeyQueue) -> None:
    delays = [queue.retry(A) for _ in range(40)]
    assert delays[:4] == [0.5, 1.0, 2.0, 4.0]
    assert delays[-1] == BACKOFF_CAP_S
    assert queue.retry(B) == 0.5, "another key's failures do not count"


async def test_a_success_ends_the_row_of_failures(queue: KeyQueue) -> None:
    queue.retry(A)
    queue.retry(A)
    queue.settle(A, None)
    assert queue.retry(A) == 0.5


async def test_the_age_of_the_oldest_key_is_known(queue: KeyQueue, time: Time) -> None:
    assert queue.oldest_age_s() == 0.0
    queue.add(A)
    time.pass_by(3.0)
    queue.add(B)
    assert queue.oldest_age_s() == 3.0
    await queue.get()
    assert queue.oldest_age_s() == 0.0


async def test_the_loops_own_timer_is_the_default() -> None:
    queue = KeyQueue()
    queue.schedule(A, 0.001)
    assert await asyncio.wait_for(queue.get(), 5) == A


async def test_a_restart_forgets_delays_and_looks_at_all(queue: KeyQueue, time: Time) -> None:
    queue.add(C)
    queue.schedule(A, 60)
    assert queue.retry(B) == 0.5
    queue.restart([A, B])
    assert await taken(queue) == [A, B]
    time.pass_by(3600)
    assert queue.depth() == 0, "the scheduled key is no longer due"
    assert queue.retry(B) == 0.5, "failures are forgotten"


async def test_changes_take_turns_with_a_resync(queue: KeyQueue) -> None:
    everyone = [Key("vision", f"t{number}") for number in range(4)]
    queue.add_all(everyone)
    queue.add(A)
    queue.add(B)
    assert await taken(queue) == [A, everyone[0], B, *everyone[1:]]


async def test_a_key_is_in_one_line_only(queue: KeyQueue, time: Time) -> None:
    queue.add(A)
    queue.add_all([A, B, C])
    time.pass_by(2)
    queue.add(C)
    assert queue.depth() == 3
    assert queue.oldest_age_s() == 2.0
    assert await taken(queue) == [A, B, C]


async def test_a_resync_returns_to_a_key_in_work(queue: KeyQueue) -> None:
    queue.add(A)
    assert await queue.get() == A
    queue.add_all([A])
    assert queue.depth() == 1
    queue.done(A)
    assert await taken(queue) == [A]
