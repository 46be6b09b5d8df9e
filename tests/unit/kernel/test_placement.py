import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.placement import Placement, PoolLoad, Room, expired, place, starts_wanted

counts = st.integers(0, 50)
loads = st.builds(PoolLoad, idle=counts, starting=counts, serving=counts, waiting=counts)
rooms = st.builds(Room, concurrency=st.integers(0, 100), init_slots=st.integers(0, 8))


@pytest.mark.parametrize(
    ("load", "room", "expected"),
    [
        (PoolLoad(1, 0, 0, 0), Room(10, 2), Placement.REUSE),
        (PoolLoad(0, 0, 0, 0), Room(10, 2), Placement.START),
        (PoolLoad(0, 1, 0, 1), Room(10, 1), Placement.START),
        (PoolLoad(0, 1, 0, 1), Room(10, 0), Placement.QUEUE),  # every init slot is taken
        (PoolLoad(0, 3, 0, 1), Room(10, 2), Placement.QUEUE),  # enough are starting already
        (PoolLoad(1, 0, 10, 0), Room(10, 2), Placement.THROTTLE),
        (PoolLoad(0, 0, 6, 4), Room(10, 2), Placement.THROTTLE),  # those that wait count too
        (PoolLoad(0, 0, 0, 0), Room(0, 2), Placement.THROTTLE),
    ],
)
def test_place(load: PoolLoad, room: Room, expected: Placement) -> None:
    assert place(load, room) is expected


@given(loads, rooms)
def test_no_request_overtakes_one_that_waits(load: PoolLoad, room: Room) -> None:
    if load.waiting:
        assert place(load, room) is not Placement.REUSE


@given(loads, rooms)
def test_starts_stay_within_slots_and_need(load: PoolLoad, room: Room) -> None:
    starts = starts_wanted(load, room)
    assert 0 <= starts <= room.init_slots
    assert starts <= load.waiting
    if starts:
        assert load.starting + load.idle + starts <= load.waiting


@given(loads, rooms)
def test_start_exactly_when_one_more_is_wanted(load: PoolLoad, room: Room) -> None:
    arrived = PoolLoad(load.idle, load.starting, load.serving, load.waiting + 1)
    if place(load, room) is Placement.START:
        assert starts_wanted(arrived, room) > 0
    if place(load, room) is Placement.QUEUE:
        assert starts_wanted(arrived, room) == 0


def test_expired_from_the_limit_on() -> None:
    assert expired([("a", 0), ("b", 1), ("c", 100)], now_ns=100, keep_alive_ns=99) == ["a", "b"]
