"""Memory of closed connections is freed by how much they received."""

import pytest

from detection_operator.server.leftovers import EACH_BYTES, LIMIT_BYTES, Leftovers


class Collector:
    """Counts collections; each takes `took_s` of a clock that the test turns."""

    def __init__(self, took_s: float = 0.0) -> None:
        self.took_s, self.now, self.count = took_s, 0.0, 0

    def collect(self) -> None:
        self.count += 1
        self.now += self.took_s

    def leftovers(self) -> Leftovers:
        return Leftovers(self.collect, lambda: self.now)


def test_nothing_is_collected_before_the_limit() -> None:
    collector = Collector()
    collector.leftovers().add(LIMIT_BYTES - EACH_BYTES - 1)
    assert collector.count == 0


@pytest.mark.parametrize("received", [0, 1000, 2**20])
def test_all_is_collected_once_for_each_limit(received: int) -> None:
    collector = Collector()
    leftovers = collector.leftovers()
    connections = -(-LIMIT_BYTES // (received + EACH_BYTES))
    for _ in range(connections * 3):
        leftovers.add(received)
    assert collector.count == 3


def test_the_collector_takes_a_fifth_of_the_time_at_most() -> None:
    collector = Collector(took_s=0.05)
    leftovers = collector.leftovers()
    for _ in range(1000):
        leftovers.add(LIMIT_BYTES)
        collector.now += 0.01
    assert 0.15 < collector.count * 0.05 / collector.now <= 0.21
