"""How a process of asyncio tasks begins to end, and ends: signals, and tasks that are cancelled."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine


def handle_signals(stop: asyncio.Event) -> None:
    """Let SIGTERM and SIGINT set `stop`, where this is the main thread.

    Called again once Kopf has started, which would stop at once on a signal of its own.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)


async def unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do `work` unless `stop` comes first; return whether it was done."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        return False
    await working
    return True


async def end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
