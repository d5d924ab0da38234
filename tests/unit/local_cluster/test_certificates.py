import ssl
from pathlib import Path

import pytest

from local_cluster import certificates
from local_cluster.errors import BuildError
from local_cluster.topology import Cluster, Node

CLUSTER = Cluster("demo", 7, Path("/cache"))


def test_the_api_server_is_trusted_under_every_address_it_is_called_by() -> None:
    served = certificates.api_server_identity(CLUSTER).serves
    assert {"DNS:kubernetes", "DNS:kubernetes.default.svc.cluster.local"} <= set(served)
    assert {"IP:10.89.7.2", "IP:10.96.0.1", "IP:127.0.0.1"} <= set(served)


def test_a_kubelet_is_the_node_that_node_authorization_knows() -> None:
    identity = certificates.kubelet_identity(CLUSTER, Node(2))
    assert identity.subject == "/O=system:nodes/CN=system:node:node-2"
    assert identity.serves == ("DNS:node-2", "IP:10.89.7.3")


def test_only_a_server_may_serve() -> None:
    assert "serverAuth" not in certificates.build_extensions(certificates.SCHEDULER)
    assert "serverAuth" in certificates.build_extensions(certificates.api_server_identity(CLUSTER))


def test_the_authority_s_certificates_are_loaded_by_tls(tmp_path: Path) -> None:
    certificates.make_authority(tmp_path)
    certificates.make_certificate(tmp_path, certificates.ADMINISTRATOR)
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    base = tmp_path / certificates.ADMINISTRATOR.file
    context.load_cert_chain(base.with_suffix(".crt"), base.with_suffix(".key"))
    assert base.with_suffix(".key").stat().st_mode & 0o077 == 0
    credentials = certificates.read_credentials(tmp_path, certificates.ADMINISTRATOR)
    assert credentials.authority == (tmp_path / "ca.crt").read_bytes()


def test_a_failing_openssl_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="ended with 1"):
        certificates.openssl("x509", "-in", tmp_path / "absent.crt")


def test_a_missing_openssl_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(BuildError, match="apt-get install openssl"):
        certificates.openssl("version")
