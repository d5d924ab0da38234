"""From a URI and mounted Secrets to a folder.

    file:///path                 percent-encoded as `Path.as_uri()` does
    s3://bucket/path             keys AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
                                 AWS_ENDPOINT_URL, AWS_REGION, AWS_CA_BUNDLE, …
    gs://bucket/path             key GOOGLE_APPLICATION_CREDENTIALS (a service account's JSON)
    az://container/path          keys AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY,
                                 AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID, …

A key is a file in the directory of the longest URI prefix that fits; what no file contains is taken
from the environment variables of the same names. A session token belongs to its key: that of the
environment is not taken with a Secret's AWS_ACCESS_KEY_ID. The files of a mounted Secret change
when it is rotated: a key of S3 or Azure is read again for every request.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from detection_trainer.contract.prefixes import longest_prefix
from detection_trainer.errors import AccessDeniedError, InvalidConfigError
from detection_trainer.storage.folder import Folder
from detection_trainer.storage.identity import identity_check
from detection_trainer.storage.local import LocalFiles
from detection_trainer.storage.objects import ObjectStorage, obstore_text

_SLASHES_OF_SCHEME = 2
_CA_BUNDLE = "AWS_CA_BUNDLE"
_KEY_ID, _SECRET_KEY = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"
_TOKEN = "AWS_SESSION_TOKEN"  # noqa: S105 - a name
_AZURE_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY")
_AZURE_SAS = ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY")
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
_GOOGLE_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_STORES: Mapping[str, tuple[Callable[..., Any], str]] = {
    "s3": (S3Store, "AWS_"),
    "gs": (GCSStore, "GOOGLE_"),
    "az": (AzureStore, "AZURE_"),
}
_RETRIES = {
    "max_retries": 10,
    "retry_timeout": timedelta(seconds=120),
    "backoff": {
        "init_backoff": timedelta(milliseconds=200),
        "max_backoff": timedelta(seconds=10),
        "base": 3,  # Waits are drawn from 0.2 s to base times the last: with 2 they never grow.
    },
}
_KEY_LIFETIME = timedelta(seconds=1)
_TIMEOUTS = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "15 min"}


def open_folder(uri: str, credentials: Mapping[str, Path] | None = None) -> Folder:
    """Open the folder at `uri`; asks the storage nothing yet.

    Args:
        uri: an address as above; it need not exist.
        credentials: URI prefix -> directory with one file a key.

    Raises:
        InvalidConfigError: the address is none, or a key is unknown to the storage.
        AccessDeniedError: the keys cannot be read.
    """
    return _open(uri, uri, credentials or {})


def _open(uri: str, named: str, credentials: Mapping[str, Path]) -> Folder:
    """Open the folder at `uri` with the keys of what was `named`: itself, or a file in it."""
    scheme, bucket, key = split_uri(uri)
    if scheme == "file":
        whole = f"file:///{key}" if key else "file://"
        return Folder(store=LocalFiles(Path("/" + unquote(key))), uri=whole)
    kind, prefix = _STORES[scheme]
    directory = choose_credentials(named, credentials)
    keys = _read_keys(directory, prefix)
    try:
        store = kind(
            bucket,
            config=_store_config(keys),
            client_options=_client_options(keys),
            retry_config=_RETRIES,
            **_rotated_key(scheme, directory, keys),
        )
    except (exceptions.BaseError, ValueError) as error:
        msg = (
            f"{uri}: the storage's settings are invalid: {obstore_text(error)}: check the keys "
            f"{prefix}* of its Secret or environment"
        )
        raise InvalidConfigError(msg) from error
    root = f"{scheme}://{bucket}"
    check = identity_check(scheme, root, keys, directory)
    return Folder(store=ObjectStorage(store, root, check), uri=uri.rstrip("/"), key=key)


def open_parent(uri: str, credentials: Mapping[str, Path] | None = None) -> tuple[Folder, str]:
    """Open the folder that holds what is at `uri`; return it with the name in there.

    The credentials are those of `uri` itself: a prefix may name a single file, or a folder of
    which it is not yet known whether it is one.
    """
    parent, _, name = uri.rpartition("/")
    if uri.count("/") <= _SLASHES_OF_SCHEME or not name:
        raise InvalidConfigError(f"expected the address of a file; received {uri!r}")
    folder = _open(parent if parent != "file://" else "file:///", uri, credentials or {})
    return folder, unquote(name) if uri.startswith("file:") else name


def split_uri(uri: str) -> tuple[str, str, str]:
    """Return scheme, bucket (empty for files) and key of `uri`.

    Raises:
        InvalidConfigError: the scheme is unknown or the bucket is missing.
    """
    scheme, mark, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if not mark or scheme not in {*_STORES, "file"} or bool(bucket) == (scheme == "file"):
        msg = (
            f"expected s3://BUCKET/PATH, gs://BUCKET/PATH, az://CONTAINER/PATH or file:///PATH; "
            f"received {uri!r}"
        )
        raise InvalidConfigError(msg)
    return scheme, bucket, key.strip("/")


def choose_credentials(uri: str, credentials: Mapping[str, Path]) -> Path | None:
    """Return the directory of the longest prefix that `uri` has, on a whole path segment."""
    longest = longest_prefix(uri, credentials)
    return None if longest is None else credentials[longest]


def _read_keys(directory: Path | None, prefix: str) -> dict[str, str]:
    """Return the keys of a mounted Secret that begin with `prefix`, file name -> content."""
    if directory is None:
        return {}
    try:
        # The kubelet replaces all files at once, by a link: never half of the old, half of the new.
        version = (directory / "..data").resolve()
        keys = {
            item.name: str(directory / item.name)
            if item.name == _GOOGLE_FILE
            else item.read_text().strip()
            for item in sorted((version if version.is_dir() else directory).iterdir())
            if item.name.startswith(prefix) and item.is_file()
        }
    except (OSError, UnicodeDecodeError) as error:
        msg = f"reading the credentials in {directory} failed: {error}: check the Secret's mount"
        raise AccessDeniedError(msg) from error
    if not keys:
        msg = (
            f"{directory} holds no key {prefix}*: the Secret needs the usual names, such as "
            "AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS or AZURE_STORAGE_ACCOUNT_KEY"
        )
        raise AccessDeniedError(msg)
    return keys


def _rotated_key(scheme: str, directory: Path | None, keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the provider of a Secret's key of S3 or Azure: as the files are now.

    A Google service account's key is no credential itself, so it is read at the start only.
    """
    read = {"s3": _s3_key, "az": _azure_key}.get(scheme)
    if read is None or not (last := read(keys)):
        return {}
    prefix = _STORES[scheme][1]

    def provide() -> dict[str, Any]:
        nonlocal last
        # While the kubelet replaces the files, or once the Secret is gone, the last key is used.
        with suppress(AccessDeniedError):
            last = read(_read_keys(directory, prefix)) or last
        # So soon that it is asked again for the next request.
        return {**last, "expires_at": datetime.now(UTC) + _KEY_LIFETIME}

    return {"credential_provider": provide}


def _s3_key(keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the key of S3, without the environment's token; empty if there is none."""
    if _KEY_ID not in keys:
        return {}
    return {
        "access_key_id": keys[_KEY_ID],
        "secret_access_key": keys.get(_SECRET_KEY, ""),
        "token": keys.get(_TOKEN) or None,
    }


def _azure_key(keys: Mapping[str, str]) -> dict[str, Any]:
    """Return the account's key or a shared access signature; empty if there is neither."""
    if key := next(filter(None, map(keys.get, _AZURE_KEYS)), None):
        return {"access_key": key}
    if sas := next(filter(None, map(keys.get, _AZURE_SAS)), None):
        return {"sas_token": sas.removeprefix("?")}
    return {}


def _store_config(keys: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in keys.items() if name != _CA_BUNDLE}


def _client_options(keys: Mapping[str, str]) -> dict[str, Any]:
    """Return timeouts, plain HTTP if the endpoint requires it, and a private root certificate."""
    options: dict[str, Any] = dict(_TIMEOUTS)
    endpoint = next((e for e in map(keys.get, _ENDPOINTS) if e), None)
    endpoint = endpoint or next((e for e in map(os.environ.get, _ENDPOINTS) if e), "")
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    if certificate := keys.get(_CA_BUNDLE) or _certificate_of_environment():
        options["root_certificate"] = certificate
    return options


def _certificate_of_environment() -> str | None:
    """Return the content of the file that AWS_CA_BUNDLE names in the environment."""
    name = os.environ.get(_CA_BUNDLE)
    if not name:
        return None
    try:
        return Path(name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{_CA_BUNDLE} names {name}, which cannot be read: {error}: correct or unset it"
        raise InvalidConfigError(msg) from error
