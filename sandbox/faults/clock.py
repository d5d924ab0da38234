"""A separate clock for a process: libfaketime reads its error from a file."""

from dataclasses import dataclass
from pathlib import Path

from local_cluster.machine import ensure_packages

PROGRAMS = {"faketime": "faketime"}
LIBRARY = "*/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True, slots=True)
class Clock:
    """The wall clock of each process that is started with `environment`; monotonic ones are right.

    `file` is read at each access of the clock, so a jump takes effect at once.
    """

    file: Path

    @classmethod
    def right(cls, folder: Path) -> "Clock":
        """Return a clock that is right, kept in `folder`; install libfaketime if it is missing."""
        ensure_packages(PROGRAMS)
        clock = cls(folder / "clock")
        clock.set(0)
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """The environment with which to start the process."""
        library = next(Path("/usr/lib").glob(LIBRARY))
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def set(self, seconds: int) -> None:
        """Let the clock be wrong by `seconds` from now on."""
        whole = self.file.with_suffix(".new")
        whole.write_text(f"{seconds:+d}s")
        whole.replace(self.file)
