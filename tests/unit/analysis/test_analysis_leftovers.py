"""A late answer of a busy client finds its line by what lies within what, where nothing else can be meant."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from synthetic_aws import AwsRun, make_aws_run

from preheat.analysis.alignment import Join
from preheat.analysis.clocks import Clock
from preheat.analysis.connections import Setup
from preheat.analysis.inputs.lambda_lines import Event, read_events
from preheat.analysis.leftovers import SURE, pair_leftovers
from preheat.analysis.log_labels import label_by_log
from preheat.analysis.requests_csv import parse_requests

RUN = make_aws_run(seed=8, prewarmed=2, users=15, run_time_s=40)
LATE = (5, 21, 60, 90)


def held_up(delay_ms: float) -> AwsRun:
    """Some answers waited in a busy client, which sent and measured everything else as usual."""
    run = copy.deepcopy(RUN)
    for number in LATE:
        run.sent[number].response_ms += delay_ms
    return run


@pytest.mark.parametrize("delay_ms", [0, 400, 1500])
def test_late_answers_find_their_lines(delay_ms: float) -> None:
    rows = parse_requests(held_up(delay_ms).requests_csv(ids=False).encode()).rows
    log = read_events([Event(at * 1000, message, stream) for at, message, stream in RUN.events()])
    found = label_by_log(rows, log, Setup(), local=False)
    assert found is not None
    labelled, use = found
    assert use.matched == len(rows)
    assert [str(labelled[number].label) for number in LATE] == [RUN.sent[number].truth for number in LATE]


def log_of(*lines: tuple[float, float]) -> object:
    """REPORT lines as (end, duration) in ms."""
    text = "REPORT RequestId: x{}\tDuration: {:.2f} ms\tBilled Duration: 1 ms\tMemory Size: 128 MB\t"
    return read_events([Event(at, text.format(number, ms)) for number, (at, ms) in enumerate(lines)])


@pytest.mark.parametrize(
    ("lines", "matched"),
    [
        ([(1000.0, 50.0)], 0),  # the only one within the request's time
        ([(1000.0, 50.0), (1200.0, 50.0)], -1),  # two could be meant
        ([(1000.0, 900.0)], -1),  # begun before the request was sent
        ([(2600.0, 50.0)], -1),  # ended after the answer
        ([], -1),
    ],
)
def test_only_one_line_that_fits_is_taken(lines: list[tuple[float, float]], matched: int) -> None:
    found = Join(Clock(0.0, 0.0, 0.0, 3.0), np.array([-1]), np.array([0.5]), 0.0)
    pair_leftovers(found, np.array([2000.0]), np.array([1500.0]), log_of(*lines))
    assert found.report.tolist() == [matched]
    assert found.cold.tolist() == [pytest.approx(1 - SURE) if matched >= 0 else 0.5]


def test_two_requests_for_one_line_get_none() -> None:
    found = Join(Clock(0.0, 0.0, 0.0, 3.0), np.array([-1, -1]), np.array([0.5, 0.5]), 0.0)
    pair_leftovers(found, np.array([2000.0, 2100.0]), np.array([1500.0, 1500.0]), log_of((1000.0, 50.0)))
    assert found.report.tolist() == [-1, -1]


def test_as_many_requests_as_warm_lines_for_them_get_one_each() -> None:
    """Three users whose answers a busy client noted together, late: which line is whose is open, that each was warm is
    not. A fourth request, whose line is lost, leaves them all without one."""
    lines = log_of((1000.0, 50.0), (1010.0, 50.0), (1020.0, 50.0))
    found = Join(Clock(0.0, 0.0, 0.0, 3.0), np.full(3, -1), np.full(3, 0.5), 0.0)
    pair_leftovers(found, np.array([2020.0, 2000.0, 2010.0]), np.full(3, 1500.0), lines)
    assert found.report.tolist() == [2, 0, 1]
    assert found.cold.tolist() == pytest.approx([1 - SURE] * 3)
    found = Join(Clock(0.0, 0.0, 0.0, 3.0), np.full(4, -1), np.full(4, 0.5), 0.0)
    pair_leftovers(found, np.array([2020.0, 2000.0, 2010.0, 2030.0]), np.full(4, 1500.0), lines)
    assert found.report.tolist() == [-1] * 4
