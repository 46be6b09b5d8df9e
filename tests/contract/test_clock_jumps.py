"""Fault 17: the clock is set forward or back by an hour while a request is inside; durations do not notice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from contract_core import Core

from preheat.execution.socket_channel import SocketTransport
from preheat.sandbox.fake import FakeFactory

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("hours", [1, -1])
async def test_fault_17_durations_are_monotonic_when_the_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    core = Core(tmp_path, FakeFactory(), SocketTransport())
    core.deploy("import time\ndef handler(event, context):\n    time.sleep(0.2)\n    return event\n")
    wall, wall_ns = time.time, time.time_ns
    answer = core.start(1)
    monkeypatch.setattr(time, "time", lambda: wall() + hours * 3600)
    monkeypatch.setattr(time, "time_ns", lambda: wall_ns() + hours * 3600 * 10**9)
    assert (await answer).payload == b"1"
    assert await core.value(2) == 2
    for record in core.records("invocation"):
        assert 200 <= record["duration_ms"] < 5000
        assert 0 <= record["wait_ms"] < 5000
        assert record["received_ns"] <= record["started_ns"] <= record["finished_ns"]
    core.close()
