"""The operator's own certificates: when they are renewed, and that a client accepts them."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from detection_operator.server.certificates import AUTHORITY_LIFE, Bundle, parse, renew

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NAMES = ("detection-operator.system.svc", "127.0.0.1")


def later(days: float) -> datetime:
    return NOW + timedelta(days=days)


def at(part: float) -> datetime:
    """Return the time when this part of the first authority's life is over."""
    return NOW + AUTHORITY_LIFE * part


def handshake(server: Bundle, trusted: str, name: str, folder: Path) -> str:
    """Let a client that trusts `trusted` connect to `server`; return its problem, or nothing."""
    chain = folder / "chain.pem"
    chain.write_text(server.files()["tls.crt"] + server.files()["tls.key"])
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(chain)
    asked = ssl.create_default_context(cadata=trusted)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asked.wrap_bio(to_client, to_server, server_hostname=name)
    other = served.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


@pytest.mark.parametrize("name", NAMES)
def test_a_client_that_trusts_the_authority_accepts_the_certificate(
    name: str, tmp_path: Path
) -> None:
    bundle = renew(None, NAMES, datetime.now(UTC))
    assert handshake(bundle, bundle.authority_text(), name, tmp_path) == ""


def test_a_client_refuses_another_name_and_another_authority(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    bundle, stranger = renew(None, NAMES, now), renew(None, NAMES, now)
    trusted = bundle.authority_text()
    assert "mismatch" in handshake(bundle, trusted, "elsewhere.svc", tmp_path)
    assert "issuer" in handshake(bundle, stranger.authority_text(), NAMES[0], tmp_path)


def test_nothing_is_renewed_before_it_is_due() -> None:
    bundle = renew(None, NAMES, NOW)
    assert renew(bundle, NAMES, later(59)) is bundle


def test_a_serving_certificate_is_renewed_after_two_thirds_of_its_life_by_the_same_authority() -> (
    None
):
    bundle = renew(None, NAMES, NOW)
    renewed = renew(bundle, NAMES, later(61))
    assert renewed.serving != bundle.serving
    assert renewed.authorities == bundle.authorities
    assert renewed.serving.certificate.not_valid_after_utc == later(151)


@pytest.mark.parametrize("names", [("other.svc",), (*NAMES, "more")], ids=["another", "one more"])
def test_a_certificate_for_other_names_is_replaced(names: tuple[str, ...]) -> None:
    bundle = renew(None, NAMES, NOW)
    assert renew(bundle, names, NOW).serving != bundle.serving


def test_a_clock_that_was_wrong_is_no_reason_to_serve_what_is_not_valid_yet() -> None:
    bundle = renew(None, NAMES, later(1000))
    assert renew(bundle, NAMES, NOW).serving != bundle.serving


def test_an_authority_is_published_long_before_it_signs() -> None:
    first = renew(None, NAMES, NOW)
    [old] = first.authorities
    published = renew(first, NAMES, at(0.67))
    assert [old] == list(published.authorities[:1])
    assert len(published.authorities) == 2
    assert published.serving.certificate.issuer == old.certificate.subject
    signing = renew(published, NAMES, at(0.84))
    assert signing.authorities == published.authorities
    assert signing.serving.certificate.issuer == signing.authorities[1].certificate.subject
    ended = renew(signing, NAMES, at(1.01))
    assert ended.authorities == signing.authorities[1:]


def test_who_trusted_what_was_published_years_ago_accepts_what_is_served_now() -> None:
    bundle = renew(None, NAMES, NOW)
    month = timedelta(days=30)
    trusted = {NOW: {pair.certificate for pair in bundle.authorities}}
    for number in range(1, 400):
        now = NOW + number * month
        bundle = renew(bundle, NAMES, now)
        trusted[now] = {pair.certificate for pair in bundle.authorities}
        serving = bundle.serving.certificate
        assert serving.not_valid_before_utc <= now < serving.not_valid_after_utc
        year_ago = trusted[max(now - 12 * month, NOW)]
        assert serving.issuer in {certificate.subject for certificate in year_ago}


def test_what_was_stored_is_read_as_it_was() -> None:
    bundle = renew(renew(None, NAMES, NOW), NAMES, at(0.7))
    assert len(bundle.authorities) == 2
    read = parse(bundle.files())
    assert read.files() == bundle.files()
    assert renew(read, NAMES, at(0.7)).files() == bundle.files()


def test_what_is_no_bundle_is_refused_by_name() -> None:
    files = renew(None, NAMES, NOW).files()
    other = renew(None, NAMES, NOW).files()
    with pytest.raises(ValueError, match=r"tls\.key missing"):
        parse({name: text for name, text in files.items() if name != "tls.key"})
    for wrong in ({"ca.crt": ""}, {"tls.crt": "x"}, {"ca.key": ""}, {"tls.key": other["tls.key"]}):
        with pytest.raises(ValueError, match=r"\S"):
            parse(files | wrong)


def test_the_authority_may_sign_servers_only() -> None:
    [authority] = renew(None, NAMES, NOW).authorities
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert (constraints.value.ca, constraints.value.path_length) == (True, 0)
