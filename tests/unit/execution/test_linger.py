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


def test_only_for_a_single_request_and_only_where_a_core_is_idle(machine: dict[str, float]) -> None:
    polling = Linger(250)
    assert polling.worthwhile(1)
    assert not polling.worthwhile(2)
    machine["running"], machine["now"] = 3, 101.0
    assert not polling.worthwhile(1)
    machine["running"], machine["now"] = 2, 101.01
    assert polling.worthwhile(1)


def test_a_look_at_the_machine_serves_many_requests(machine: dict[str, float]) -> None:
    polling = Linger(250)
    assert polling.worthwhile(1)
    machine["running"] = 9
    assert polling.worthwhile(1)


def test_zero_is_never(machine: dict[str, float]) -> None:
    assert not Linger(0).worthwhile(1)


def test_this_process_runs() -> None:
    assert running_tasks() >= 1
