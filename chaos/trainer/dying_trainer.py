"""A trainer that kills itself around its n-th write below a path, before it or after it.

python -m chaos.trainer.dying_trainer before /step- 3 run FILE …
"""

import os
import signal
import sys

from detection_trainer.__main__ import main
from detection_trainer.storage import Folder, Source


def die_at(moment: str, below: str, count: int) -> None:
    """Kill this process, as the kernel would, around the `count`-th write to a URI with `below`."""
    plain, left = Folder.write, count

    def counted(self: Folder, path: str, data: Source, *, create: bool = False) -> None:
        nonlocal left
        is_meant = below in f"{self.uri}/{path}"
        left -= is_meant
        if is_meant and left == 0 and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        plain(self, path, data, create=create)
        if is_meant and left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    Folder.write = counted  # type: ignore[method-assign]


if __name__ == "__main__":
    die_at(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.exit(main(sys.argv[4:]))
