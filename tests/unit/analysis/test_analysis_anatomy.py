"""The parts of a cold request follow each other and sum to its response time."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.analysis import anatomy
from preheat.analysis.journal import Invocation
from preheat.analysis.labels import Label, LabelledRequest
from preheat.analysis.requests_csv import ClientRequest
from preheat.kernel.events import InitDone


def cold(*, response_ms: float, wait_ms: float, duration_ms: float, setup_ms: float | None = None) -> LabelledRequest:
    ids = {"request_id": "r", "gateway_request_id": None, "environment": "e"}
    clock = {"wait_ms": wait_ms, "duration_ms": duration_ms}
    costs = {"init_ms": None, "billed_ms": 1, "memory_mb": 512, "max_memory_mb": 126}
    end = {"status": "ok", "error_type": None}
    invocation = Invocation(at_ms=1000.0, cold=True, **ids, **clock, **costs, **end)  # type: ignore[arg-type]
    return LabelledRequest(ClientRequest(0, 1.0, response_ms, 200, connect_ms=setup_ms), Label.COLD, invocation)


def init(done_ms: float, spawn_ms: float = 30, runtime_ms: float = 170, handler_ms: float = 800) -> InitDone:
    total = spawn_ms + runtime_ms + handler_ms
    parts = {"spawn_ms": spawn_ms, "runtime_ms": runtime_ms, "handler_ms": handler_ms}
    return InitDone(done_ms, "e", "iris", "$LATEST", total, "ok", None, **parts)


def test_a_start_on_demand_is_taken_apart() -> None:
    item = cold(response_ms=1030, wait_ms=1002, duration_ms=20, setup_ms=2)
    assert anatomy.by_name(anatomy.anatomy(item, init(2001))) == pytest.approx(
        {
            anatomy.SETUP: 2,
            anatomy.QUEUE: 2,
            anatomy.SPAWN: 30,
            anatomy.RUNTIME: 170,
            anatomy.MODULE: 800,
            anatomy.HANDLER: 20,
            anatomy.REST: 6,
        }
    )


def test_an_environment_under_way_costs_only_what_was_left() -> None:
    item = cold(response_ms=510, wait_ms=500, duration_ms=10)
    assert anatomy.by_name(anatomy.anatomy(item, init(1500))) == {anatomy.MODULE: 500, anatomy.HANDLER: 10}


def test_an_environment_that_stood_ready_cost_nothing() -> None:
    item = cold(response_ms=12, wait_ms=0.5, duration_ms=10)
    parts = anatomy.by_name(anatomy.anatomy(item, init(400)))
    assert parts == {anatomy.QUEUE: 0.5, anatomy.HANDLER: 10, anatomy.REST: 1.5}


def test_a_wait_for_a_place_to_start_comes_first() -> None:
    item = cold(response_ms=1800, wait_ms=1700, duration_ms=100)
    parts = anatomy.anatomy(item, init(2700))
    assert (parts[0].name, parts[0].length_ms) == (anatomy.QUEUE, 700)


def test_init_without_parts_is_one_part() -> None:
    item = cold(response_ms=1000, wait_ms=1000, duration_ms=0)
    done = InitDone(2000, "e", "iris", "$LATEST", 1000, "ok")
    assert anatomy.by_name(anatomy.anatomy(item, done)) == {anatomy.INIT: 1000}


def test_a_request_without_record_has_no_parts() -> None:
    assert anatomy.anatomy(LabelledRequest(ClientRequest(0, 1.0, 5.0, 200), Label.UNMATCHED), None) == []


times = st.floats(0, 5000)


@given(times, times, times, times, times, times, st.floats(-9000, 9000), st.one_of(st.none(), times))
def test_parts_are_end_to_end_and_sum_to_the_whole(
    rest: float,
    wait: float,
    duration: float,
    spawn: float,
    runtime: float,
    module: float,
    done: float,
    setup: float | None,
) -> None:
    response_ms = (setup or 0) + wait + duration + rest
    item = cold(response_ms=response_ms, wait_ms=wait, duration_ms=duration, setup_ms=setup)
    parts = anatomy.anatomy(item, init(1000 + done, spawn, runtime, module))
    assert sum(part.length_ms for part in parts) == pytest.approx(response_ms, abs=1e-3)
    for before, after in itertools.pairwise(parts):
        assert after.start_ms == pytest.approx(before.start_ms + before.length_ms)
    assert all(part.length_ms > 0 for part in parts)
