"""Tokens as the API server projects them into pods, signed with the local cluster's own key.

One TokenRequest per pod would take longer than what is measured. The operator checks these tokens
like any other: key, issuer, audience, expiry, and the pod that they are bound to.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from detection_trainer.contract.runtime import REPORT_AUDIENCE
from sandbox.site.kube import Kube

SOME_ACCOUNT = "/api/v1/namespaces/default/serviceaccounts/default/token"
LIFETIME_S = 3600


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """A cluster's key and the claims of its tokens."""

    key: Any
    key_id: str
    algorithm: str
    issuer: str

    @classmethod
    def of(cls, kube: Kube, certificates: Path) -> Self:
        """Read the key from a local cluster's certificates, and its id from one of its tokens."""
        text = (certificates / "service-account.key").read_bytes()
        asked = {"spec": {"audiences": [REPORT_AUDIENCE], "expirationSeconds": 600}}
        token: str = kube.request("POST", SOME_ACCOUNT, asked)["status"]["token"]
        header = jwt.get_unverified_header(token)
        issuer = jwt.decode(token, options={"verify_signature": False})["iss"]
        return cls(load_pem_private_key(text, password=None), header["kid"], header["alg"], issuer)

    def sign(self, namespace: str, pod_name: str, pod_uid: str) -> str:
        """Return a token bound to a pod."""
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": [REPORT_AUDIENCE],
            "iat": now,
            "exp": now + LIFETIME_S,
            "sub": f"system:serviceaccount:{namespace}:default",
            "kubernetes.io": {
                "namespace": namespace,
                "serviceaccount": {"name": "default"},
                "pod": {"name": pod_name, "uid": pod_uid},
            },
        }
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": self.key_id})
