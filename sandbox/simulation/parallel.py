"""Runs many requests, a limited number at a time."""

import asyncio
from collections.abc import Awaitable, Callable

CONNECTIONS = 50


async def in_parallel(
    act: Callable[[str], Awaitable[None]], names: list[str], connections: int = CONNECTIONS
) -> None:
    """Call `act` for each name, at most `connections` at a time."""
    waiting = iter(names)

    async def work() -> None:
        for name in waiting:
            await act(name)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())
