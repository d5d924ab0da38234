"""The trainer, which gives up on a storage after seconds instead of minutes; all else is unchanged.

python -m tests.support.programs.impatient_trainer run FILE …
"""

import sys
from datetime import timedelta

from detection_trainer.__main__ import main
from detection_trainer.storage import places

if __name__ == "__main__":
    places._RETRIES |= {"max_retries": 2, "retry_timeout": timedelta(seconds=2)}
    places._TIMEOUTS["read_timeout"] = "1s"
    sys.exit(main(sys.argv[1:]))
