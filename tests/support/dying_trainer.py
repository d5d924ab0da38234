"""A trainer whose process is killed before its n-th write below a directory; for tests only.

python -m tests.support.dying_trainer step-00000004/manifest.json run FILE …
"""

import os
import signal
import sys

from detection_trainer.__main__ import main
from detection_trainer.storage import Source
from detection_trainer.storage.local import LocalFiles


def die_before(path: str) -> None:
    """Make the write of the file that ends with `path` kill this process, as the kernel would."""
    write = LocalFiles.write

    def write_or_die(self: LocalFiles, key: str, data: Source, *, create: bool) -> None:
        if str(self.root / key).endswith(path):
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, key, data, create=create)

    LocalFiles.write = write_or_die  # type: ignore[method-assign]


if __name__ == "__main__":
    die_before(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
