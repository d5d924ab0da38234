"""How often a sender may report, and that many senders do not fill the memory."""

import pytest

from detection_operator.server import rate
from detection_operator.server.rate import RateLimit


class Scene:
    def __init__(self, burst: int) -> None:
        self.now = 100.0
        self.limit = RateLimit(every_s=2.0, burst=burst, clock=lambda: self.now)


def test_a_burst_then_one_at_a_time() -> None:
    scene = Scene(burst=3)
    assert [scene.limit.take("a") for _ in range(4)] == [0.0, 0.0, 0.0, 2.0]
    assert scene.limit.take("b") == 0.0
    scene.now += 1.5
    assert scene.limit.take("a") == 0.5, "what was refused was not counted"
    scene.now += 0.5
    assert scene.limit.take("a") == 0.0
    assert scene.limit.take("a") == 2.0


def test_a_silent_client_regains_its_burst_and_no_more() -> None:
    scene = Scene(burst=2)
    scene.limit.take("a")
    scene.now += 1000
    assert [scene.limit.take("a") for _ in range(3)] == [0.0, 0.0, 2.0]


def test_silent_clients_are_forgotten_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rate, "MAX_REMEMBERED", 3)
    scene = Scene(burst=1)
    for name in "abc":
        scene.limit.take(name)
    scene.now += 2
    scene.limit.take("d")
    assert len(scene.limit._due) == 1
