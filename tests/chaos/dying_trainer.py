"""A trainer that kills itself at its n-th write into a checkpoint's directory, before or after it.

python -m tests.chaos.dying_trainer 3 before run FILE …
"""

import os
import signal
import sys

from detection_trainer.__main__ import main
from detection_trainer.storage import Folder, Source


def die_at(write: int, moment: str) -> None:
    """Kill this process around a write; the writes of steps are counted from 1."""
    plain, count = Folder.write, 0

    def counted(self: Folder, path: str, data: Source, *, create: bool = False) -> None:
        nonlocal count
        count += "/step-" in self.uri
        if count == write and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        plain(self, path, data, create=create)
        if count == write:
            os.kill(os.getpid(), signal.SIGKILL)

    Folder.write = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(int(sys.argv[1]), sys.argv[2])
    sys.exit(main(sys.argv[3:]))
