"""A listener in a network of its own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from preheat.sandbox.container import unusable
from preheat.sandbox.network import RUNTIME_API, isolated

pytestmark = pytest.mark.skipif(unusable() is not None, reason="takes root")


def test_each_has_the_same_address_in_a_network_of_its_own() -> None:
    own = Path("/proc/self/ns/net").readlink()
    places = [isolated(), isolated()]
    try:
        assert {place.listener.getsockname() for place in places} == {RUNTIME_API}
        names = {Path(f"/proc/self/fd/{place.network_fd}").readlink() for place in places}
        assert len(names) == 2
        assert own not in names
    finally:
        for place in places:
            place.listener.close()
            os.close(place.network_fd)


def test_this_process_stays_where_it_is_and_cannot_reach_it() -> None:
    before = Path("/proc/thread-self/ns/net").readlink()
    place = isolated()
    try:
        assert Path("/proc/thread-self/ns/net").readlink() == before
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(RUNTIME_API, timeout=2)
    finally:
        place.listener.close()
        os.close(place.network_fd)
