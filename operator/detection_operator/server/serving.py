"""The operator's serving certificate: where it comes from; it is renewed without a restart.

It is the operator's own, kept in a Secret that all replicas share; or one that others create and
renew (cert-manager), mounted as files; or, for an operator outside a cluster, one of this process.
"""

import asyncio
import base64
import contextlib
import logging
import os
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from detection_operator.api.times import utc_now
from detection_operator.cluster.api.client import Client
from detection_operator.cluster.api.owner import OwnService
from detection_operator.cluster.api.resources import SECRETS, Key, Object
from detection_operator.errors import (
    AlreadyExistsError,
    ClusterError,
    ConfigurationError,
    ConflictError,
    NotFoundError,
)
from detection_operator.names import LABEL_MANAGED_BY, MANAGED_BY
from detection_operator.server.certificates import Bundle, parse, renew
from detection_operator.settings import Settings

logger = logging.getLogger(__name__)

LOOK_S = 3600.0
"""Seconds between checks of the operator's own certificate: weeks are left when renewal is due."""
LOOK_AT_FILES_S = 60.0
"""The time that the kubelet may take to update a volume after a Secret changed."""
MAX_CONFLICTS = 8
Files = dict[str, str]
"""PEM texts by name: tls.crt, tls.key and, if clients need one, ca.crt."""
Source = Callable[[], Awaitable[Files]]
Now = Callable[[], datetime]


def serving_names(url: str) -> tuple[str, ...]:
    """Return the names in a certificate for `url`, the host of `url` first."""
    host = urlsplit(url).hostname or ""
    if host.endswith(".svc"):
        return host, f"{host}.cluster.local", "localhost"
    return tuple(dict.fromkeys((host, "localhost")))


class OwnSecret:
    """A certificate in a Secret of the operator's own namespace."""

    def __init__(
        self,
        client: Client,
        place: Key,
        names: Sequence[str],
        *,
        owner: OwnService | None = None,
        now: Now = utc_now,
    ) -> None:
        """Keep the certificate in the Secret `place`, for `names`; its owner becomes `owner`."""
        self._client, self._place, self._names, self._now = client, place, names, now
        self._owner = owner if owner is not None else OwnService(client, None)

    async def __call__(self) -> Files:
        """Return the content of the Secret, created or renewed if that is due.

        Several replicas may renew at once: the first write wins, the others read again. A Secret
        without the owner is written again with it.

        Raises:
            ClusterError: the Secret could not be read or written.
        """
        for _ in range(MAX_CONFLICTS):
            try:
                found = await self._find()
                known = self._read(found)
                wanted = renew(known, self._names, self._now())
                body = found if found and wanted is known else self._body(found, wanted)
                owned = await self._owner.own(body, is_new=found is None)
                if owned != found:
                    await self._write(found, owned)
            except (AlreadyExistsError, ConflictError):
                continue
            return wanted.files()
        what = f"writing Secret {self._place}"
        raise ConflictError(what, 409, f"it changed under each of {MAX_CONFLICTS} writes")

    async def _find(self) -> Object | None:
        try:
            return await self._client.get(SECRETS, *self._place)
        except NotFoundError:
            return None

    def _read(self, found: Object | None) -> Bundle | None:
        if found is None:
            return None
        try:
            data = found.get("data") or {}
            return parse({name: base64.b64decode(text).decode() for name, text in data.items()})
        except ValueError as error:
            logger.warning(
                "Secret %s has no valid certificate of the operator; a new one is created. Running "
                "trainers cannot report until their next attempt: %s",
                self._place,
                error,
            )
            return None

    def _body(self, found: Object | None, bundle: Bundle) -> Object:
        files = bundle.files()
        data = {name: base64.b64encode(text.encode()).decode() for name, text in files.items()}
        if found is not None:
            return found | {"data": data}
        metadata = {"name": self._place.name, "labels": {LABEL_MANAGED_BY: MANAGED_BY}}
        return {"metadata": metadata, "type": "kubernetes.io/tls", "data": data}

    async def _write(self, found: Object | None, body: Object) -> None:
        """Store the Secret.

        Raises:
            ConflictError: it was changed or deleted since it was read.
        """
        if found is None:
            await self._client.create(SECRETS, self._place.namespace, body)
        else:
            try:
                await self._client.replace(SECRETS, *self._place, body)
            except NotFoundError as error:
                # The garbage collector deletes the Secret of a release that was uninstalled before.
                what = f"updating Secret {self._place}"
                raise ConflictError(what, 409, "it was deleted since it was read") from error
        logger.info("wrote the serving certificate to Secret %s", self._place)


class OwnProcess:
    """A certificate that is valid until the process ends."""

    def __init__(self, names: Sequence[str], now: Now = utc_now) -> None:
        """Create the certificate for `names`."""
        self._names, self._now = names, now
        self._bundle: Bundle | None = None

    async def __call__(self) -> Files:
        """Return the certificate."""
        self._bundle = renew(self._bundle, self._names, self._now())
        return self._bundle.files()


class Folder:
    """A certificate that others write to a folder."""

    def __init__(self, folder: Path) -> None:
        """Read the certificate from `folder`."""
        self._folder = folder

    async def __call__(self) -> Files:
        """Return the current files.

        Raises:
            ConfigurationError: one is missing; without ca.crt, trainers use their image's own.
        """
        try:
            files = {name: (self._folder / name).read_text() for name in ("tls.crt", "tls.key")}
            with contextlib.suppress(FileNotFoundError):
                files["ca.crt"] = (self._folder / "ca.crt").read_text()
        except (OSError, ValueError) as error:
            msg = f"expected tls.crt and tls.key (PEM) in {self._folder}; received {error}"
            raise ConfigurationError(msg) from error
        return files


class ServingCertificate:
    """The certificate for TLS connections."""

    def __init__(self, source: Source, look_s: float = LOOK_S) -> None:
        """Read the certificate from `source`, again every `look_s` seconds."""
        self._source, self._look_s = source, look_s
        self._files: Files = {}
        self.authorities = ""
        self.expires_at = 0.0
        """When the certificate ends, in seconds since 1970; 0: there is none yet."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        """The context of new connections; without a certificate it refuses each."""
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.options |= ssl.OP_NO_RENEGOTIATION

    def trusted(self) -> str:
        """Return the authorities for clients to trust, as PEM; empty: those of their system."""
        return self.authorities

    async def refresh(self) -> None:
        """Use the current certificate of the source.

        Raises:
            ClusterError: it could not be read.
            ConfigurationError: it is not a certificate with its key.
        """
        files = await self._source()
        if files == self._files:
            return
        try:
            certificate = x509.load_pem_x509_certificate(files["tls.crt"].encode())
            with _as_file(files["tls.crt"] + files["tls.key"]) as path:
                self.context.load_cert_chain(path)
        except (ValueError, ssl.SSLError) as error:
            msg = f"expected a certificate and its key as PEM (tls.crt, tls.key); received {error}"
            raise ConfigurationError(msg) from error
        self._files, self.authorities = files, files.get("ca.crt", "")
        self.expires_at = certificate.not_valid_after_utc.timestamp()
        until = certificate.not_valid_after_utc
        logger.info("serving with a certificate that is valid until %s", f"{until:%Y-%m-%d %H:%M}")

    async def run(self) -> None:
        """Refresh until cancelled; after a failure the current certificate stays in use."""
        while True:
            await asyncio.sleep(self._look_s)
            try:
                await self.refresh()
            except (ClusterError, ConfigurationError) as error:
                logger.warning("the serving certificate was not renewed: %s", error)


def serving_certificate(settings: Settings, client: Client) -> ServingCertificate | None:
    """Return the serving certificate; None if the report URL is of plain HTTP."""
    if not settings.report_url.startswith("https://"):
        return None
    if settings.tls_folder:
        return ServingCertificate(Folder(Path(settings.tls_folder)), LOOK_AT_FILES_S)
    names = serving_names(settings.report_url)
    if not settings.tls_namespace:
        return ServingCertificate(OwnProcess(names))
    place = Key(settings.tls_namespace, settings.tls_secret)
    service = Key(settings.tls_namespace, settings.service) if settings.service else None
    owner = OwnService(client, service)
    return ServingCertificate(OwnSecret(client, place, names, owner=owner))


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """Yield the path of a file with `text`, which OpenSSL requires; the key is never on a disk."""
    if not hasattr(os, "memfd_create"):
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(text)
            file.flush()
            yield file.name
        return
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
