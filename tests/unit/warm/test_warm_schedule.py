from __future__ import annotations

import pytest

from preheat.kernel.errors import PreheatError
from preheat.warm.rounds import Answer, Round
from preheat.warm.schedule import Summary, due, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("5m", 300), ("1h30m", 5400), ("2", 2), ("250ms", 0.25), ("1.5s", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--every") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "5 m", "1d", "-5s", "0s", "5m!", "m"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(PreheatError, match=r"--every .*give a time") as error:
        parse_duration(text, "--every")
    assert error.value.exit_code == 252


class Clock:
    """Time that passes only by waiting, and by rounds that take a while."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def times(every_s: float, for_s: float | None, rounds_take_s: list[float]) -> list[float]:
    clock = Clock()
    found = []
    for number in due(every_s, for_s, clock, clock.wait):
        found.append(clock.now - 100)
        if number > len(rounds_take_s):
            break
        clock.now += rounds_take_s[number - 1]
    return found


def test_rounds_are_due_on_a_fixed_rhythm_from_the_start() -> None:
    assert times(10, None, [1, 2, 0]) == [0, 10, 20, 30]


def test_a_round_that_was_overrun_is_left_out() -> None:
    assert times(10, None, [25, 1, 10]) == [0, 25, 30, 40]


def test_it_ends_in_time() -> None:
    assert times(10, 30, [0] * 9) == [0, 10, 20]
    assert times(10, 25, [0] * 9) == [0, 10, 20]
    assert times(10, 5, [0] * 9) == [0]


def test_a_summary_counts() -> None:
    cold, warm = Answer("a", cold_ms=100.0), Answer("b")
    summary = Summary()
    summary.add(Round(1, 0, 3, 5, [cold, warm, Answer("", refused="TooManyRequestsException")], 2, 0))
    summary.add(Round(2, 0, 3, 5, [warm, Answer("c", function_error=True), warm], 3, 0))
    summary.add(Round(3, 0, 3, 5, [warm, warm, warm], 1, 2))  # two not found: says nothing about environments
    found = summary.as_dict()
    assert (found["type"], found["schema"], found["rounds"], found["invocations"]) == ("summary", 1, 3, 9)
    assert (found["cold"], found["failed"], found["refused"], found["fewest_environments"]) == (1, 1, 1, 2)
