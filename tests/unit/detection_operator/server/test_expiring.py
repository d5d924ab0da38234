from detection_operator.server.expiring import Expiring


def test_a_value_is_known_until_its_time() -> None:
    now = 10.0
    kept: Expiring[str, int] = Expiring(2, lambda: now)
    kept.put("a", 0, until=11.0)
    assert kept.get("a") == 0
    now = 11.0
    assert kept.get("a") is None
    assert kept.get("never put") is None


def test_the_first_makes_room_and_one_that_is_put_again_is_not_the_first() -> None:
    kept: Expiring[str, int] = Expiring(2, lambda: 0.0)
    for key in "abac":
        kept.put(key, 1, until=1.0)
    assert [key for key in "abc" if kept.get(key)] == ["a", "c"]
    assert len(kept) == 2
    kept.clear()
    assert len(kept) == 0
