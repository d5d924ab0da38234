"""Tokens: which are accepted, which are refused and why, and how often the keys are read."""

import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from detection_operator.errors import RefusedError, UnavailableError
from detection_operator.server import tokens
from detection_operator.server.tokens import MIN_REFRESH_S, REFRESH_S, TokenVerifier
from detection_trainer.contract.runtime import REPORT_AUDIENCE
from tests.support.operator.tokens import Signer

OURS, STRANGER = Signer(), Signer()


class Scene:
    def __init__(self, signer: Signer = OURS) -> None:
        self.signer, self.now, self.fetches, self.down = signer, 1000.0, 0, False
        self.late_s = 0.0
        self.verifier = TokenVerifier(
            self._fetch,
            REPORT_AUDIENCE,
            clock=lambda: self.now,
            now=lambda: time.time() + self.late_s,
        )

    async def _fetch(self, path: str) -> dict[str, Any]:
        self.fetches += 1
        if self.down:
            raise UnavailableError(f"GET {path}", 503, "down")
        return self.signer.documents()[path]

    async def refusal(self, token: str) -> str:
        with pytest.raises(RefusedError) as refused:
            await self.verifier.verify(token)
        assert refused.value.status == 401
        assert "bearer token was not accepted" in str(refused.value)
        return refused.value.reason


async def test_a_token_of_the_cluster_names_its_pod() -> None:
    bearer = await Scene().verifier.verify(OURS.sign())
    assert (bearer.namespace, bearer.pod_uid) == ("vision", "uid-pod-1")
    assert bearer.pod_name == "trees-5f2c8a1b-1-x7k2p"


def tampered() -> str:
    head, body, signature = OURS.sign().split(".")
    other = OURS.sign(namespace="other").split(".")[1]
    assert other != body
    return f"{head}.{other}.{signature}"


LONG_AGO = int(time.time()) - 7200

REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "what is no token at all": (lambda: "hello", "malformed"),
    "one without a signature": (lambda: jwt.encode({"iss": "x"}, "", "none"), "unknown_key"),
    "one of another cluster": (lambda: STRANGER.sign(key_id="theirs"), "unknown_key"),
    "one forged under our key's name": (STRANGER.sign, "signature"),
    "one that was tampered with": (tampered, "signature"),
    "one signed by the public key as a secret": (
        lambda: jwt.encode({"iss": OURS.issuer}, "k" * 32, "HS256", headers={"kid": "key-1"}),
        "malformed",
    ),
    "one for the API server": (lambda: OURS.sign(aud=["https://kubernetes.default"]), "audience"),
    "one that has expired": (lambda: OURS.sign(iat=LONG_AGO, exp=LONG_AGO + 3600), "expired"),
    "one of another issuer": (lambda: OURS.sign(iss="https://evil.example"), "issuer"),
    "one without an end": (lambda: OURS.sign(exp=None), "malformed"),
    "one that is bound to no pod": (lambda: OURS.sign(pod_uid=None), "not_bound"),
    "one that is no service account's": (lambda: OURS.sign(bound=1), "not_bound"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSED.values(), ids=REFUSED.keys())
async def test_a_token_is_refused_with_its_reason(make: Callable[[], str], reason: str) -> None:
    assert await Scene().refusal(make()) == reason


async def test_the_keys_are_read_once() -> None:
    scene = Scene()
    for _ in range(5):
        await scene.verifier.verify(OURS.sign())
    assert scene.fetches == 2


async def test_a_signature_is_checked_once_in_the_lifetime_of_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene, token = Scene(), OURS.sign()
    first = await scene.verifier.verify(token)
    monkeypatch.setattr(jwt, "decode", lambda *_, **__: pytest.fail("checked again"))
    assert await scene.verifier.verify(token) == first
    scene.late_s = 3601
    with pytest.raises(pytest.fail.Exception):
        await scene.verifier.verify(token)


async def test_known_tokens_use_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tokens, "MAX_KNOWN", 2)
    scene = Scene()
    for number in range(4):
        await scene.verifier.verify(OURS.sign(pod_uid=f"uid-{number}"))
    assert len(scene.verifier._known) == 2


async def test_an_unknown_key_has_them_read_again_but_not_at_will() -> None:
    scene = Scene()
    await scene.verifier.verify(OURS.sign())
    for _ in range(10):
        await scene.refusal(STRANGER.sign(key_id="theirs"))
    assert scene.fetches == 2
    rotated = Signer("key-2")
    scene.signer = rotated
    scene.now += MIN_REFRESH_S
    await scene.verifier.verify(rotated.sign())
    assert scene.fetches == 4


async def test_a_withdrawn_key_is_not_accepted_for_long() -> None:
    scene = Scene()
    await scene.verifier.verify(OURS.sign())
    scene.signer = Signer("key-2")
    scene.now += REFRESH_S
    assert await scene.refusal(OURS.sign()) == "unknown_key"


async def test_without_keys_a_client_is_not_refused_but_asked_to_retry() -> None:
    scene = Scene()
    scene.down = True
    with pytest.raises(UnavailableError):
        await scene.verifier.verify(OURS.sign())


async def test_known_keys_survive_an_outage() -> None:
    scene = Scene()
    await scene.verifier.verify(OURS.sign())
    scene.down = True
    scene.now += REFRESH_S
    await scene.verifier.verify(OURS.sign())
    fetches = scene.fetches
    await scene.verifier.verify(OURS.sign())
    assert scene.fetches == fetches, "it waits before it reads again"
