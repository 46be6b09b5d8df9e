"""Who serves a request, and which environments start or retire: decided purely, acted on elsewhere.

The server (`execution.pool`) and the simulator call the same functions, one on the machine's clock, the
other on a virtual one. All times are nanoseconds of whichever clock the caller uses.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

import msgspec


class Placement(Enum):
    REUSE = "reuse"
    """An idle environment takes the request at once."""
    START = "start"
    """The request waits; one more environment is started for the queue."""
    QUEUE = "queue"
    """The request waits; enough environments are starting already, or no init slot is free."""
    THROTTLE = "throttle"
    """Refused: the concurrency limit is reached."""


class PoolLoad(msgspec.Struct, frozen=True):
    """One function revision at one moment, in numbers of environments and requests."""

    idle: int
    starting: int
    serving: int
    waiting: int


class Room(msgspec.Struct, frozen=True):
    """What the rest of the machine and the account leave to this function."""

    concurrency: int
    """Requests that may be in flight (serving or waiting) at once, this function's others included."""
    init_slots: int
    """Environments that may begin their init now."""


def place(load: PoolLoad, room: Room) -> Placement:
    """Decide about one request that has just arrived and is not counted in `load` yet."""
    if load.serving + load.waiting >= room.concurrency:
        return Placement.THROTTLE
    if load.idle and not load.waiting:
        return Placement.REUSE
    arrived = PoolLoad(load.idle, load.starting, load.serving, load.waiting + 1)
    return Placement.START if starts_wanted(arrived, room) else Placement.QUEUE


def starts_wanted(load: PoolLoad, room: Room) -> int:
    """How many environments to start now for the requests that wait.

    One for each waiting request that no environment is starting for, and no more than there are init
    slots: a burst must not drown the machine in its own cold starts. A waiting request takes whichever
    environment is free first, so a start is for the queue, not for a request.
    """
    return max(0, min(load.waiting - load.starting - load.idle, room.init_slots))


def spares_wanted(recent_starts: int, spares_max: int) -> int:
    """How many forked children to keep waiting: one, and one more for each start of the last seconds.

    A burst is followed by its like more often than not; `spares_max` bounds the memory, 0 means none.
    """
    return min(spares_max, 1 + recent_starts)


def expired(idle_since_ns: Iterable[tuple[str, int]], now_ns: int, keep_alive_ns: int) -> list[str]:
    """The environments (id, idle since) whose keep-alive has run out."""
    return [identity for identity, since_ns in idle_since_ns if now_ns - since_ns >= keep_alive_ns]
