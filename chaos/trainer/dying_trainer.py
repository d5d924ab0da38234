"""A trainer that kills itself around its n-th write below a path, before it or after it.

python -m chaos.trainer.dying_trainer before /step- 3 run FILE …
"""

import itertools
import os
import signal
import sys
from collections.abc import Sequence

from detection_trainer import __main__ as trainer
from detection_trainer.storage import Folder, Source


def die_at(moment: str, below: str, count: int) -> None:
    """Kill this process, as the kernel would, around the `count`-th write to a URI with `below`."""
    plain, turns = Folder.write, itertools.count(1)

    def counted(self: Folder, path: str, data: Source, *, create: bool = False) -> None:
        # Files of one save are written at once: each must know its own number.
        is_turn = below in f"{self.uri}/{path}" and next(turns) == count
        if is_turn and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        plain(self, path, data, create=create)
        if is_turn:
            os.kill(os.getpid(), signal.SIGKILL)

    Folder.write = counted  # type: ignore[method-assign]


def main(arguments: Sequence[str]) -> int:
    """Run the trainer with the arguments after the first three, which state when to die."""
    die_at(arguments[0], arguments[1], int(arguments[2]))
    return trainer.main(arguments[3:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
