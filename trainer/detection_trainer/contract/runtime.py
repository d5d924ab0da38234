"""The environment variables of a trainer; each is also a command-line option.

The spec comes in a file. These variables contain only the trainer's environment. The operator sets
them; without the operator none is needed.
"""

PREFIX = "DETECTION_TRAINER_"

ATTEMPT = PREFIX + "ATTEMPT"
"""Number of this trainer start, from 1."""
REPORT_URL = PREFIX + "REPORT_URL"
"""URL to which reports are posted; absent: reports are not sent."""
REPORT_TOKEN_FILE = PREFIX + "REPORT_TOKEN_FILE"
"""A file with the bearer token, read for each report because the token rotates."""
REPORT_CA_FILE = PREFIX + "REPORT_CA_FILE"
"""PEM file of the authorities to trust for an https:// URL, read for each connection; absent: the
system's authorities."""
CHECKPOINT_URI = PREFIX + "CHECKPOINT_URI"
"""Where `checkpoints.storage.volumeClaim` is mounted, as a file:// URI."""
CREDENTIALS = PREFIX + "CREDENTIALS"
"""JSON object: URI prefix -> directory with one file per key (a mounted Secret)."""
CONFIG_DIGEST = PREFIX + "CONFIG_DIGEST"
"""SHA-256 of the file's bytes; another file is refused (CONFIG_CHANGED)."""
RECORDED_STEP = PREFIX + "RECORDED_STEP"
"""Newest step that the status records; a folder without checkpoints is then an error."""
DATASET_DIGEST = PREFIX + "DATASET_DIGEST"
"""The training set that the preflight pinned; other files are refused (DATASET_CHANGED)."""
TERMINATION_LOG = PREFIX + "TERMINATION_LOG"
"""File to which the outcome is written for the kubelet; absent: it is not written."""
METRICS_PORT = PREFIX + "METRICS_PORT"
"""Port at which Prometheus reads the newest report; absent: no port."""

DEFAULT_METRICS_PORT = 9464
"""In pods; the default of OpenTelemetry's Prometheus exporter."""
REPORT_AUDIENCE = "detectiontraining.dev/progress"
REPORT_PATH = "/v1/namespaces/{namespace}/trainings/{name}/report"
