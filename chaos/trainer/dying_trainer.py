"""A trainer that kills itself around its n-th write below a path, before it or after it.

python -m chaos.trainer.dying_trainer before /step- 3 run FILE …
"""

import os
import signal
import sys
from collections.abc import Sequence

from detection_trainer import __main__ as trainer
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


def main(words: Sequence[str]) -> int:
    """Run the trainer with what follows the three words that tell when to die."""
    die_at(words[0], words[1], int(words[2]))
    return trainer.main(words[3:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
