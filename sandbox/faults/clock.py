"""A clock of its own for a process: libfaketime reads from a file by how much it is wrong."""

from dataclasses import dataclass
from pathlib import Path

from local_cluster.machine import ensure_packages

PROGRAMS = {"faketime": "faketime"}
LIBRARY = "*/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock of each process that is started with `environment`; monotonic ones are right.

    `file` is read at each look at the clock: a jump is seen at once.
    """

    file: Path

    @classmethod
    def right(cls, folder: Path) -> "Clock":
        """Return a clock that is right, kept in `folder`; installs what it takes."""
        ensure_packages(PROGRAMS)
        clock = cls(folder / "clock")
        clock.set(0)
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """What the process is to be started with."""
        library = next(Path("/usr/lib").glob(LIBRARY))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Let it be wrong by so many seconds from now on."""
        whole = self.file.with_suffix(".new")
        whole.write_text(f"{seconds:+d}s")
        whole.replace(self.file)
