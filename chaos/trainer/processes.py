"""The trainer's processes: started normally, or forked from one that has imported TensorFlow.

A fork saves most of the start on a busy machine. Forked processes share the seed of Python's
hashes, so only the first kind shows what depends on the order of a set.
"""

import importlib
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

_MODULES = (
    "detection_trainer.run.session",
    "detection_trainer.run.worker",
    "chaos.trainer.dying_trainer",
)


class Process(Protocol):
    """What a process of either kind must provide; a `Popen` does."""

    @property
    def stdout(self) -> Iterable[str] | None:
        """Its output, line by line."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal."""

    def wait(self) -> int:
        """Return its exit code; that of a signal is negative."""

    def kill(self) -> None:
        """End it."""

    def __enter__(self) -> Self:
        """Return the process."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Wait for its end, and close its output."""


def start_cold(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> Process:
    """Start `python -m module` with `arguments`; stderr is appended to `log`."""
    there = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", module, *arguments]
    with log.open("a") as errors:
        return subprocess.Popen(  # noqa: S603 - this checkout's trainer
            command, stdout=subprocess.PIPE, stderr=errors, text=True, env=there
        )


def start_warm(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
) -> Process:
    """Do the same with a fork."""
    return _Forked(module, arguments, environment, log)


class _Forked:
    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        context: Any = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(_MODULES))
        read, write = context.Pipe(duplex=False)
        process_arguments = (module, list(arguments), dict(environment), log, write)
        self._process = context.Process(target=_run, args=process_arguments)
        self._process.start()
        write.close()
        self._file = os.fdopen(os.dup(read.fileno()), "r")
        read.close()

    @property
    def stdout(self) -> Iterable[str]:
        return self._file

    def send_signal(self, sig: int) -> None:
        os.kill(self._process.pid, sig)

    def wait(self) -> int:
        self._process.join()
        return int(self._process.exitcode)

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self._file.close()


def _run(
    module: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    out: Connection,
) -> None:
    os.dup2(out.fileno(), 1)
    with log.open("a") as errors:
        os.dup2(errors.fileno(), 2)
    out.close()
    os.environ.update(environment)
    name = f"{module}.__main__" if module == "detection_trainer" else module
    sys.exit(importlib.import_module(name).main(arguments))
