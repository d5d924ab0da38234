"""Verifies the tokens of trainers' pods with the cluster's own keys, without an API call for each.

A projected service-account token is a JWT; the API server publishes issuer and public keys
(https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/
#service-account-issuer-discovery). The caller checks that the pod of the token is alive.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import jwt

from detection_operator.errors import ClusterError, RefusedError
from detection_operator.server.expiring import Expiring

JWKS_PATH = "/openid/v1/jwks"
DISCOVERY_PATH = "/.well-known/openid-configuration"
REFRESH_S = 300.0
"""Seconds that a key which the cluster withdrew may still be accepted."""
MIN_REFRESH_S = 10.0
"""Limits how often a stranger with unknown key ids can cause a call of the API server."""
LEEWAY_S = 5
MAX_KNOWN = 20_000
"""Tokens whose signature is not checked again; each pod has one in ten minutes."""
ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "ES256", "ES384", "ES512"})

FetchDocument = Callable[[str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Bearer:
    """The pod that a token is bound to."""

    namespace: str
    pod_name: str
    pod_uid: str


class TokenVerifier:
    """Verifies tokens for one audience."""

    def __init__(
        self,
        fetch: FetchDocument,
        audience: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Read the cluster's documents with `fetch`, when they are first needed.

        `now` returns the time by which tokens expire, in seconds since 1970.
        """
        self._fetch, self._audience, self._clock = fetch, audience, clock
        self._known: Expiring[bytes, Bearer] = Expiring(MAX_KNOWN, now)
        """By a token's digest, until the token expires or the cluster's keys change."""
        self._keys: dict[str, jwt.PyJWK] = {}
        self._documents: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
        self._issuer = ""
        self._read_at: float | None = None

    def knows(self, token: str) -> bool:
        """Return whether `verify` would return without any cryptography."""
        return self._known.get(_digest(token)) is not None

    async def verify(self, token: str) -> Bearer:
        """Return the bearer of a token.

        Raises:
            RefusedError: 401, with the reason: malformed, unknown_key, signature, audience, issuer,
                expired, not_bound.
            ClusterError: the keys could not be read, and none are known yet.
        """
        if self._age() >= REFRESH_S:
            await self._refresh()
        digest = _digest(token)
        if (known := self._known.get(digest)) is not None:
            return known
        bearer, until = await self._check(token)
        self._known.put(digest, bearer, until)
        return bearer

    async def _check(self, token: str) -> tuple[Bearer, float]:
        """Return the bearer of a token, and when the token expires."""
        key = await self._key(_key_id(token))
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise _refusal(error) from error
        return _bearer(claims), float(claims["exp"])

    async def _key(self, key_id: str) -> jwt.PyJWK:
        if key_id not in self._keys and self._age() >= MIN_REFRESH_S:
            await self._refresh()
        key = self._keys.get(key_id)
        if key is None or key.algorithm_name not in ALGORITHMS:
            raise _refused("unknown_key", "it is not signed by this cluster")
        return key

    def _age(self) -> float:
        return float("inf") if self._read_at is None else self._clock() - self._read_at

    async def _refresh(self) -> None:
        try:
            discovery = await self._fetch(DISCOVERY_PATH)
            keys = await self._fetch(JWKS_PATH)
        except ClusterError:
            if not self._keys:
                raise
            # The known keys are still valid; retry later.
            self._read_at = self._clock() - REFRESH_S + MIN_REFRESH_S
            return
        self._issuer = str(discovery["issuer"])
        if (discovery, keys) != self._documents:
            self._known.clear()
        self._documents = discovery, keys
        self._keys = {str(jwk["kid"]): jwt.PyJWK(jwk) for jwk in keys["keys"] if "kid" in jwk}
        self._read_at = self._clock()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _key_id(token: str) -> str:
    if not token.isascii():
        raise _refused("malformed", "it is no JSON Web Token (it is not in ASCII)")
    try:
        return str(jwt.get_unverified_header(token).get("kid", ""))
    except (jwt.PyJWTError, RecursionError) as error:
        raise _refused("malformed", f"it is no JSON Web Token ({error})") from error


def _refusal(error: jwt.PyJWTError) -> RefusedError:
    match error:
        case jwt.ExpiredSignatureError():
            return _refused("expired", "it has expired: read the token file again")
        case jwt.InvalidAudienceError():
            return _refused("audience", "it is meant for another audience")
        case jwt.InvalidIssuerError():
            return _refused("issuer", "it was issued elsewhere")
        case jwt.InvalidSignatureError():
            return _refused("signature", "its signature is invalid")
        case _:
            return _refused("malformed", str(error))


def _refused(reason: str, what: str) -> RefusedError:
    message = f"the bearer token was not accepted: {what}"
    return RefusedError(HTTPStatus.UNAUTHORIZED, reason, message)


def _bearer(claims: dict[str, Any]) -> Bearer:
    bound = claims.get("kubernetes.io")
    pod = bound.get("pod") if isinstance(bound, dict) else None
    if not isinstance(bound, dict) or not isinstance(pod, dict) or not pod.get("uid"):
        raise _refused("not_bound", "it is not bound to a pod: mount a projected token")
    return Bearer(str(bound.get("namespace", "")), str(pod.get("name", "")), str(pod["uid"]))
