"""What prevents the start of the process, and how it ends: signals and cancelled tasks."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine

from detection_operator.cluster.api.resources import TRAININGS
from detection_operator.errors import (
    ClusterError,
    ForbiddenError,
    NotFoundError,
    UnauthorizedError,
)

CRD = f"{TRAININGS.plural}.detectiontraining.dev"


def explain_start(error: ClusterError) -> str:
    """Return what prevents the start, and what a person can do, for the log."""
    return f"{outline_start(error)} ({error})"


def outline_start(error: ClusterError) -> str:
    """Return the same for `/readyz`, which anyone may read: without names of namespaces."""
    match error:
        case NotFoundError():
            return (
                f"the CustomResourceDefinition {CRD} is not installed; install it with the chart "
                "(crds.install=true) or `kubectl apply -f crds/`"
            )
        case ForbiddenError():
            return (
                "the service account may not do what it must; install the chart's RBAC, with "
                "watchNamespaces as the operator has them"
            )
        case UnauthorizedError():
            return "the API server does not know our credentials"
        case _:
            answer = f"answered {error.status}" if error.status else "did not answer"
            return f"the API server {answer}; see the log"


def handle_signals(stop: asyncio.Event) -> None:
    """Make SIGTERM and SIGINT set `stop`, if this is the main thread.

    Called again once Kopf has started: Kopf's own handlers would stop it at once.
    """
    loop = asyncio.get_running_loop()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)


async def unless(stop: asyncio.Event, work: Coroutine[None, None, None]) -> bool:
    """Do `work` unless `stop` is set first; return whether it was done."""
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
