"""The command line: `python3 -m local_cluster COMMAND`."""

from __future__ import annotations

import sys

from local_cluster.command_line import main

sys.exit(main(sys.argv[1:]))
