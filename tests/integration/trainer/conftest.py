"""One thread for TensorFlow, in this process and in those that tests start: the bits depend on it.

Set before anything imports TensorFlow, which reads these once; so are the program's own settings.
"""

import os

from detection_trainer.process import prepare_process

os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"
prepare_process()
