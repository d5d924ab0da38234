"""Checks that there are credentials for an object storage: keys, a token's file, or a cloud role.

Without keys and tokens obstore asks the metadata service of the cloud. Where there is none it
retries for most of a minute, and its error names neither keys nor variables. So a connection to
the service is tried first, for a few seconds. `places` builds the check for each folder.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from detection_trainer.errors import AccessDeniedError

_TRIES = 3
_CONNECT_SECONDS = 2.0
_PAUSE_SECONDS = 0.3
_HTTP_PORT = 80
_METADATA = "http://169.254.169.254"
_GOOGLE_LOGIN = ".config/gcloud/application_default_credentials.json"


@dataclass(frozen=True, slots=True)
class _Cloud:
    """Where obstore looks for credentials of one kind of storage."""

    names: Sequence[str]
    """Variables, or keys of a Secret. With any of them obstore does not ask the service."""
    usual: str
    """The usual ones, for the message."""
    endpoints: Sequence[str]
    """Variables with the address of another metadata service."""


_CLOUDS: Mapping[str, _Cloud] = {
    "s3": _Cloud(
        (
            "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            "AWS_SKIP_SIGNATURE",
        ),
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_WEB_IDENTITY_TOKEN_FILE, "
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ("AWS_METADATA_ENDPOINT",),
    ),
    "gs": _Cloud(
        (
            "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SKIP_SIGNATURE",
        ),
        "GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT_KEY",
        ("METADATA_HOST", "METADATA_IP"),
    ),
    "az": _Cloud(
        (
            "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY",
            "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_TOKEN",
            "AZURE_STORAGE_CLIENT_ID", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_USE_AZURE_CLI", "AZURE_SKIP_SIGNATURE", "AZURE_STORAGE_USE_EMULATOR",
            "AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT", "IDENTITY_ENDPOINT", "MSI_ENDPOINT",
        ),
        "AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID or "
        "AZURE_FEDERATED_TOKEN_FILE",
        (),
    ),
}  # fmt: skip


def identity_check(
    scheme: str, root: str, keys: Mapping[str, str], directory: Path | None
) -> Callable[[], None]:
    """Return a function that raises AccessDeniedError where there are no credentials.

    A check that passed is not repeated.

    Args:
        scheme: `s3`, `gs` or `az`.
        root: the bucket's URI, for the message.
        keys: those of the mounted Secret.
        directory: where that Secret is mounted; None: no Secret serves this bucket.
    """
    cloud = _CLOUDS[scheme]
    given = {**os.environ, **keys}
    if any(given.get(name) for name in cloud.names) or (scheme == "gs" and _has_google_login()):
        return lambda: None
    address = next((value for value in map(given.get, cloud.endpoints) if value), _METADATA)
    endpoint = address if "://" in address else f"http://{address}"

    @cache
    def check() -> None:
        problem = _unreachable(endpoint)
        if problem is not None:
            place = "no Secret serves this address (spec.credentials)"
            if directory is not None:
                place = f"not among the keys of the Secret at {directory}"
            raise AccessDeniedError(
                f"{root}: there are no credentials: {place}, and none of the environment variables "
                f"{cloud.usual} is set. The metadata service of a cloud machine does not answer "
                f"either ({endpoint}: {problem}). Give the keys of the storage in one of these ways"
            )

    return check


def _has_google_login() -> bool:
    return (Path(os.environ.get("HOME") or "/nonexistent") / _GOOGLE_LOGIN).is_file()


def _unreachable(endpoint: str) -> str | None:
    """Return why no connection to `endpoint` succeeds; None once one does."""
    parts = urlsplit(endpoint)
    problem = ""
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            address = (parts.hostname or "", parts.port or _HTTP_PORT)
            with socket.create_connection(address, timeout=_CONNECT_SECONDS):
                return None
        except (OSError, ValueError) as error:
            problem = str(error)
    return problem
