"""The cluster's certificate authority and the certificates that it signs.

Client certificates have the user in CN and the group in O, as Kubernetes authenticates its own
components (kubernetes.io/docs/setup/best-practices/certificates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_cluster import shell
from local_cluster.errors import BuildError
from local_cluster.topology import SERVICES_RANGE, Cluster, Node

if TYPE_CHECKING:
    from pathlib import Path

VALID_DAYS = "3650"
REMEDY = "install openssl (`apt-get install openssl`), then run this again"


@dataclass(frozen=True, slots=True)
class Identity:
    """The subject of a certificate, and the names and addresses that it is valid for."""

    file: str
    user: str
    group: str = ""
    serves: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The subject as openssl writes it."""
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presents and what it trusts, in PEM."""

    authority: bytes
    certificate: bytes
    key: bytes


ADMINISTRATOR = Identity("administrator", "local-cluster-administrator", "system:masters")
CONTROLLER_MANAGER = Identity("kube-controller-manager", "system:kube-controller-manager")
SCHEDULER = Identity("kube-scheduler", "system:kube-scheduler")
PROXY = Identity("kube-proxy", "system:kube-proxy")
# These start together with the API server: RBAC rules written afterwards would be seconds late.
DNS = Identity("coredns", "local-cluster-dns", "system:masters")
PROVISIONER = Identity("provisioner", "local-cluster-provisioner", "system:masters")
POLICY_ENFORCER = Identity("policy-enforcer", "local-cluster-policy-enforcer", "system:masters")
KUBELET_CLIENT = Identity("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")


def kubelet_identity(cluster: Cluster, node: Node) -> Identity:
    """Return the kubelet's identity for the API server and for its own API."""
    names = (f"DNS:{node.name}", f"IP:{cluster.node_address(node)}")
    return Identity(f"kubelet-{node.name}", f"system:node:{node.name}", "system:nodes", names)


def api_server_identity(cluster: Cluster) -> Identity:
    """Return the API server's identity: every name and address under which it is reached."""
    service = "kubernetes.default.svc.cluster.local"
    parts = service.split(".")
    names = [f"DNS:{'.'.join(parts[:length])}" for length in (1, 2, 3, 5)]
    addresses = [f"IP:{a}" for a in (cluster.api_address, SERVICES_RANGE[1], "127.0.0.1")]
    return Identity("kube-apiserver", "kube-apiserver", "", (*names, "DNS:localhost", *addresses))


def openssl(*arguments: str | Path) -> None:
    """Run openssl; raise BuildError with its output if it fails."""
    command = ["openssl", *(str(argument) for argument in arguments)]
    try:
        done = shell.capture(command)
    except FileNotFoundError as error:
        raise BuildError("openssl is missing", expected="it on PATH", remedy=REMEDY) from error
    if done.returncode != 0:
        raise BuildError(
            f"`{' '.join(command)}` ended with {done.returncode}: {done.stderr.strip()}",
            expected="exit code 0",
            remedy=REMEDY,
        )


def make_key(path: Path) -> None:
    """Write a new elliptic-curve private key that only its owner can read."""
    openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", path)
    path.chmod(0o600)


def make_authority(directory: Path) -> None:
    """Write ca.key, ca.crt, and the key pair that signs service-account tokens."""
    directory.mkdir(parents=True, exist_ok=True)
    make_key(directory / "ca.key")
    openssl(
        *("req", "-x509", "-new", "-key", directory / "ca.key", "-subj", "/CN=local-cluster"),
        *("-days", VALID_DAYS, "-out", directory / "ca.crt"),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"),
    )
    make_key(directory / "service-account.key")
    openssl(
        *("ec", "-in", directory / "service-account.key", "-pubout"),
        *("-out", directory / "service-account.pub"),
    )


def build_extensions(identity: Identity) -> str:
    """Return the X.509 extensions of `identity` in openssl's configuration format."""
    lines = [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        "extendedKeyUsage=clientAuth" + (",serverAuth" if identity.serves else ""),
    ]
    if identity.serves:
        lines.append("subjectAltName=" + ",".join(identity.serves))
    return "\n".join(lines) + "\n"


def make_certificate(directory: Path, identity: Identity) -> None:
    """Write the key and the certificate of `identity`, signed by the authority."""
    base = directory / identity.file
    key, request, extensions = (base.with_suffix(s) for s in (".key", ".csr", ".ext"))
    make_key(key)
    extensions.write_text(build_extensions(identity))
    openssl("req", "-new", "-key", key, "-subj", identity.subject, "-out", request)
    openssl(
        *("x509", "-req", "-in", request, "-days", VALID_DAYS, "-extfile", extensions),
        *("-CA", directory / "ca.crt", "-CAkey", directory / "ca.key", "-CAcreateserial"),
        *("-out", base.with_suffix(".crt")),
    )
    request.unlink()
    extensions.unlink()


def make_control_plane_certificates(cluster: Cluster) -> None:
    """Write the authority and every certificate except the kubelets'."""
    make_authority(cluster.certificates)
    identities = (
        *(ADMINISTRATOR, CONTROLLER_MANAGER, SCHEDULER, PROXY, DNS, PROVISIONER),
        *(POLICY_ENFORCER, KUBELET_CLIENT),
        api_server_identity(cluster),
    )
    for identity in identities:
        make_certificate(cluster.certificates, identity)


def read_credentials(directory: Path, identity: Identity) -> Credentials:
    """Return the files of `identity`."""
    base = directory / identity.file
    return Credentials(
        authority=(directory / "ca.crt").read_bytes(),
        certificate=base.with_suffix(".crt").read_bytes(),
        key=base.with_suffix(".key").read_bytes(),
    )
