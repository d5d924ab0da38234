"""Service-account tokens as a cluster signs them, and the documents that it publishes."""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from detection_operator.server.tokens import DISCOVERY_PATH, JWKS_PATH
from detection_trainer.contract.runtime import REPORT_AUDIENCE

ISSUER = "https://kubernetes.default.svc.cluster.local"
Object = dict[str, Any]


class Signer:
    """A cluster's key pair."""

    def __init__(self, key_id: str = "key-1", issuer: str = ISSUER) -> None:
        self.key_id, self.issuer = key_id, issuer
        self._private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def documents(self) -> dict[str, Object]:
        """Return what the API server publishes."""
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self._private.public_key())
        jwk = {**json.loads(public), "kid": self.key_id, "alg": "RS256", "use": "sig"}
        return {DISCOVERY_PATH: {"issuer": self.issuer}, JWKS_PATH: {"keys": [jwk]}}

    def sign(
        self,
        *,
        pod_uid: str | None = "uid-pod-1",
        namespace: str = "vision",
        key_id: str | None = None,
        bound: Any = None,
        **claims: Any,
    ) -> str:
        """Return a token bound to a pod (None: to none)."""
        now = int(time.time())
        kubernetes: Object = {"namespace": namespace, "serviceaccount": {"name": "default"}}
        if pod_uid is not None:
            kubernetes["pod"] = {"name": "trees-5f2c8a1b-1-x7k2p", "uid": pod_uid}
        payload = {
            "iss": self.issuer,
            "aud": [REPORT_AUDIENCE],
            "iat": now,
            "exp": now + 3600,
            "sub": f"system:serviceaccount:{namespace}:default",
            "kubernetes.io": kubernetes if bound is None else bound,
        } | claims
        headers = {"kid": key_id or self.key_id}
        return jwt.encode(payload, self._private, algorithm="RS256", headers=headers)
