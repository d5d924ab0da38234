"""What a trainer's surroundings tell it: environment variables, each also a command-line option.

The spec comes in a file; these say only where and as whom it runs. The operator sets them, a
person by hand needs none.
"""

PREFIX = "DETECTION_TRAINER_"

ATTEMPT = PREFIX + "ATTEMPT"
"""Number of this trainer start, from 1."""
REPORT_URL = PREFIX + "REPORT_URL"
"""Where reports are posted; absent: nowhere."""
REPORT_TOKEN_FILE = PREFIX + "REPORT_TOKEN_FILE"
"""A file with the bearer token, read again for each report since it rotates."""
REPORT_CA_FILE = PREFIX + "REPORT_CA_FILE"
"""PEM file of the authorities to trust for an https:// URL, read for each connection; absent: the
system's."""
CHECKPOINT_URI = PREFIX + "CHECKPOINT_URI"
"""Where `checkpoints.storage.volumeClaim` is mounted, as a file:// URI."""
CREDENTIALS = PREFIX + "CREDENTIALS"
"""JSON object: URI prefix -> directory with one file a key (a mounted Secret)."""
CONFIG_DIGEST = PREFIX + "CONFIG_DIGEST"
"""sha256 of the file's bytes; a file that differs is refused (CONFIG_CHANGED)."""
RECORDED_STEP = PREFIX + "RECORDED_STEP"
"""Newest checkpoint that the status records; a folder without any is then an error, not step 0."""
DATASET_DIGEST = PREFIX + "DATASET_DIGEST"
"""What the preflight pinned of the training set; other files are refused (DATASET_CHANGED)."""
TERMINATION_LOG = PREFIX + "TERMINATION_LOG"
"""Where the outcome is written for the kubelet; absent: nowhere."""
METRICS_PORT = PREFIX + "METRICS_PORT"
"""Where Prometheus finds the newest report; absent: nowhere."""

DEFAULT_METRICS_PORT = 9464
"""In pods; that of OpenTelemetry's Prometheus exporter."""
REPORT_AUDIENCE = "detectiontraining.dev/progress"
REPORT_PATH = "/v1/namespaces/{namespace}/trainings/{name}/report"
