"""Many requests at once: each name once, with a limit at a time."""

import asyncio

import pytest

from sandbox.simulation.parallel import in_parallel

NAMES = [f"t{number}" for number in range(7)]


@pytest.mark.parametrize(("connections", "most"), [(3, 3), (50, 7)], ids=["few", "enough"])
async def test_each_name_is_handled_once_with_a_limit_at_a_time(
    connections: int, most: int
) -> None:
    handled: list[str] = []
    active: set[str] = set()
    peaks: list[int] = []

    async def handle(name: str) -> None:
        active.add(name)
        peaks.append(len(active))
        await asyncio.sleep(0)
        active.remove(name)
        handled.append(name)

    await in_parallel(handle, NAMES, connections)
    assert sorted(handled) == NAMES
    assert max(peaks) == most


async def test_an_error_ends_all() -> None:
    async def fail(name: str) -> None:
        raise LookupError(name)

    with pytest.raises(ExceptionGroup) as found:
        await in_parallel(fail, NAMES, 1)
    assert [str(error) for error in found.value.exceptions] == ["t0"]
