"""Certificates that the operator signs itself: a long-lived authority, and serving certificates.

Pure, except for randomness; the caller passes the time. A pod receives the authorities when it is
created and keeps them as long as it runs, so an authority is published long before it signs:

    0            2/3          5/6           1    of an authority's life
    | signs ...................|            |
                 | the next is published, and signs from 5/6 of the first on
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE = timedelta(days=3650)
SERVING_LIFE = timedelta(days=90)
PUBLISHED_AT, RETIRED_AT, RENEWED_AT = 2 / 3, 5 / 6, 2 / 3
"""Fractions of a life: the next authority is created, it signs, a serving certificate ends."""
BACKDATED = timedelta(hours=1)
"""For clients whose clocks are slow."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def part(self, now: datetime) -> float:
        """Return the fraction of its life that is over at `now`."""
        begin = self.certificate.not_valid_before_utc
        return (now - begin) / (self.certificate.not_valid_after_utc - begin)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything that a server needs."""

    authorities: tuple[Pair, ...]
    """Oldest first; all are trusted, one signs."""
    serving: Pair

    def authority_text(self) -> str:
        """Return the certificates of all authorities as PEM, for clients to trust."""
        return "".join(_pem(pair.certificate) for pair in self.authorities)

    def files(self) -> dict[str, str]:
        """Return the bundle as PEM, by the names of its entries in a Secret."""
        return {
            "ca.crt": self.authority_text(),
            "ca.key": "".join(_key_pem(pair.key) for pair in self.authorities),
            "tls.crt": _pem(self.serving.certificate),
            "tls.key": _key_pem(self.serving.key),
        }


def renew(bundle: Bundle | None, names: Sequence[str], now: datetime) -> Bundle:
    """Return `bundle` with what is due created again; `bundle` itself if nothing is due."""
    authorities = _renew_authorities(bundle.authorities if bundle else (), now)
    signer = _signer(authorities, now)
    if bundle is None or not _serves(bundle.serving, signer, names, now):
        return Bundle(authorities, _sign(signer, names, now))
    return bundle if authorities == bundle.authorities else replace(bundle, authorities=authorities)


def parse(files: dict[str, str]) -> Bundle:
    """Return the bundle that `Bundle.files` returned as `files`.

    Raises:
        ValueError: a file is missing or invalid.
    """
    missing = {"ca.crt", "ca.key", "tls.crt", "tls.key"} - files.keys()
    if missing:
        msg = f"expected PEM files; {', '.join(sorted(missing))} missing"
        raise ValueError(msg)
    certificates = x509.load_pem_x509_certificates(files["ca.crt"].encode())
    keys = [_load_key(text) for text in _blocks(files["ca.key"])]
    if len(keys) != len(certificates):
        msg = f"expected a key for each authority; received {len(keys)} for {len(certificates)}"
        raise ValueError(msg)
    serving = x509.load_pem_x509_certificate(files["tls.crt"].encode())
    pairs = (*zip(certificates, keys, strict=True), (serving, _load_key(files["tls.key"])))
    if any(certificate.public_key() != key.public_key() for certificate, key in pairs):
        msg = "expected keys that fit their certificates"
        raise ValueError(msg)
    *authorities, served = (Pair(certificate, key) for certificate, key in pairs)
    return Bundle(tuple(authorities), served)


def _renew_authorities(known: tuple[Pair, ...], now: datetime) -> tuple[Pair, ...]:
    valid = tuple(pair for pair in known if pair.part(now) < 1)
    if not valid or valid[-1].part(now) >= PUBLISHED_AT:
        return (*valid, _make_authority(now))
    return valid


def _signer(authorities: tuple[Pair, ...], now: datetime) -> Pair:
    return next((pair for pair in authorities if pair.part(now) < RETIRED_AT), authorities[-1])


def _serves(pair: Pair, signer: Pair, names: Sequence[str], now: datetime) -> bool:
    """Return whether a serving certificate needs no renewal."""
    certificate = pair.certificate
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    return (
        certificate.issuer == signer.certificate.subject
        and 0 <= pair.part(now) < RENEWED_AT
        and list(found) == _alternatives(names)
    )


def _make_authority(now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    # Each has its own name: a certificate names its issuer, and several are trusted at once.
    name = _name(f"detection-operator {serial:x}"[:64])
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(certificate, key)


def _sign(signer: Pair, names: Sequence[str], now: datetime) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    until = min(now + SERVING_LIFE, signer.certificate.not_valid_after_utc)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    certificate = (
        x509.CertificateBuilder(
            signer.certificate.subject,
            _name("detection-operator"),
            key.public_key(),
            x509.random_serial_number(),
        )
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(issuer, critical=False)
        .sign(signer.key, hashes.SHA256())
    )
    return Pair(certificate, key)


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    return [_alternative(name) for name in names]


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).decode()


def _blocks(text: str) -> list[str]:
    end = "-----END PRIVATE KEY-----\n"
    return [block + end for block in text.split(end) if block.strip()]


def _load_key(text: str) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(text.encode(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = f"expected a key on an elliptic curve; received {type(key).__name__}"
        raise ValueError(msg)  # noqa: TRY004 - like all else that a file may be
    return key
