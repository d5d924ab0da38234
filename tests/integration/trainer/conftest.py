"""One thread for TensorFlow, in this process and in those that tests start: the bits depend on it.

Set before anything makes TensorFlow's context, which reads these once.
"""

import os

os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["TF_NUM_INTEROP_THREADS"] = "1"
