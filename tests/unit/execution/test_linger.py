import pytest

from preheat.execution import linger
from preheat.execution.linger import Linger, running_tasks


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    state = {"running": 1, "now": 100.0}
    monkeypatch.setattr(linger, "running_tasks", lambda: state["running"])
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr("time.monotonic", lambda: state["now"])
    return state


def test_only_for_a_single_request_and_only_where_both_can_have_a_core(machine: dict[str, float]) -> None:
    polling = Linger(250)
    assert polling.for_request(1) == 250  # we alone run: the other core is the runtime's
    assert polling.for_request(2) == 0
    machine["running"], machine["now"] = 2, 101.0  # somebody else's work has the other core
    assert polling.for_request(1) == 0
    machine["running"], machine["now"] = 1, 101.01
    assert polling.for_request(1) == 250


def test_a_runtime_that_polls_is_not_taken_for_somebody_elses_work(machine: dict[str, float]) -> None:
    polling = Linger(250)
    assert polling.for_request(1) == 250
    machine["running"] = 2
    for _ in range(200):
        machine["now"] += 0.0002
        assert polling.for_request(1) == 250
    machine["running"] = 3
    machine["now"] += 0.02
    assert polling.for_request(1) == 0


def test_a_look_at_the_machine_serves_many_requests(machine: dict[str, float]) -> None:
    polling = Linger(250)
    assert polling.for_request(1) == 250
    machine["running"] = 9
    assert polling.for_request(1) == 250


def test_zero_is_never(machine: dict[str, float]) -> None:
    assert Linger(0).for_request(1) == 0
    assert Linger(0).for_request(9) == 0


def test_this_process_runs() -> None:
    assert running_tasks() >= 1
