"""Who gets a connection when there are few."""

from detection_operator.server.seats import Seats


def test_an_address_uses_no_more_than_its_own_seats() -> None:
    seats: Seats[int] = Seats(total=10, per_peer=2)
    assert [seats.admit("a", n).admitted for n in range(4)] == [True, True, False, False]
    assert seats.admit("b", 9).admitted
    assert len(seats) == 3


def test_without_its_own_limit_an_address_can_use_all_seats() -> None:
    seats: Seats[int] = Seats(total=3, per_peer=0)
    assert [seats.admit("a", n).admitted for n in range(4)] == [True, True, True, False]


def test_a_new_connection_gets_the_oldest_seat_of_the_address_with_the_most() -> None:
    seats: Seats[str] = Seats(total=3, per_peer=0)
    for connection in ("a1", "a2", "a3"):
        seats.admit("a", connection)
    admission = seats.admit("b", "b1")
    assert (admission.admitted, admission.evicted) == (True, "a1")
    assert sorted(seats.connections()) == ["a2", "a3", "b1"]
    assert not seats.admit("b", "b2").admitted, "then both would have as many"


def test_when_every_address_has_one_seat_a_new_connection_is_refused() -> None:
    seats: Seats[int] = Seats(total=2, per_peer=0)
    assert seats.admit("a", 1).admitted
    assert seats.admit("b", 2).admitted
    assert not seats.admit("c", 3).admitted


def test_a_thousand_connections_from_a_few_addresses_block_no_other_address() -> None:
    seats: Seats[tuple[str, int]] = Seats(total=64, per_peer=16)
    for n in range(1000):
        seats.admit(f"hostile-{n % 5}", ("hostile", n))
    assert len(seats) == 64
    assert all(seats.admit(f"trainer-{n}", ("trainer", n)).admitted for n in range(10))
    held = seats.connections()
    assert len(held) == len(seats) == 64
    assert sum(kind == "trainer" for kind, _ in held) == 10


def test_a_seat_is_free_again_once_released() -> None:
    seats: Seats[int] = Seats(total=1, per_peer=0)
    seats.admit("a", 1)
    seats.release("a", 1)
    seats.release("a", 1)
    assert len(seats) == 0
    assert seats.admit("b", 2).admitted


def test_it_is_crowded_from_three_quarters_on() -> None:
    seats: Seats[int] = Seats(total=4, per_peer=0)
    crowded = []
    for n in range(4):
        seats.admit("a", n)
        crowded.append(seats.is_crowded)
    assert crowded == [False, False, True, True]
