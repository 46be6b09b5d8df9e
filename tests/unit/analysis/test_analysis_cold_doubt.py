"""A cold REPORT line among requests that all waited for its start: who met it is said as surely as it can be told."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from preheat.analysis.connections import Setup
from preheat.analysis.inputs.lambda_lines import Event, read_events
from preheat.analysis.labels import Label, LabelledRequest, Method
from preheat.analysis.log_labels import LogUse, label_by_log
from preheat.analysis.requests_csv import ClientRequest, RequestTable
from preheat.analysis.run_folder import RunFolder
from preheat.analysis.study import Study

EPOCH_MS = 1_763_800_000_000.0
INIT_MS = 1800.0
REPORT = "REPORT RequestId: x{}\tDuration: {:.2f} ms\tBilled Duration: 9 ms\tMemory Size: 128 MB\t"


def burst(seed: int, *, waiting: int, apart_ms: float, late_ms: float) -> tuple[list[ClientRequest], list[Event]]:
    """`waiting` requests at once, served one after the other, `apart_ms` between them, by the environment that starts
    for the first; the client notes its answer `late_ms` late. Then 300 warm ones. Request 0 is the cold one."""
    random_ = random.Random(seed)
    spans = [(number * 0.2, INIT_MS + 5 + number * apart_ms, 2.0) for number in range(waiting)]
    at_ms = 4000.0
    for _ in range(300):
        at_ms += random_.uniform(20, 150)
        length_ms = random_.lognormvariate(0.7, 0.3)
        spans.append((at_ms, at_ms + 1.5 + length_ms, length_ms))
    requests, events = [], []
    for number, (sent_ms, done_ms, length_ms) in enumerate(spans):
        init = f"Init Duration: {INIT_MS:.2f} ms\t" if number == 0 else ""
        events.append(Event(EPOCH_MS + round(done_ms), REPORT.format(number, length_ms) + init, "s"))
        seen_ms = done_ms + random_.uniform(1, 4) + (late_ms if number == 0 else 0.0)
        requests.append(ClientRequest(number, (EPOCH_MS + sent_ms) / 1000, seen_ms - sent_ms, 200))
    return requests, events


def joined(requests: list[ClientRequest], events: list[Event]) -> tuple[list[LabelledRequest], LogUse]:
    found = label_by_log(requests, read_events(events), Setup(), local=False)
    assert found is not None
    return found


@pytest.mark.parametrize("late_ms", [0.0, 30.0, 150.0, 600.0])
@pytest.mark.parametrize("apart_ms", [0.2, 2.0, 15.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_cold_request_of_a_burst_is_found_or_in_doubt(seed: int, apart_ms: float, late_ms: float) -> None:
    labelled, use = joined(*burst(seed, waiting=8, apart_ms=apart_ms, late_ms=late_ms))
    assert use.cold_matched + use.cold_left_over == 1  # what the lines say stays exact
    wrong = [item for item in labelled[1:] if item.label is Label.COLD]
    truth = labelled[0]
    assert truth.label in (Label.COLD, Label.UNKNOWN) or truth.probability < 0.99
    for item in wrong:  # another one of those that waited, and never surely
        assert item.request.index < 8
        assert item.probability < 0.99
    assert all(item.label is Label.WARM for item in labelled[8:])


def test_those_that_fit_a_cold_line_alike_share_its_probability() -> None:
    labelled, use = joined(*burst(1, waiting=8, apart_ms=0.0, late_ms=0.0))
    assert (use.cold_matched, use.cold_left_over) == (1, 0)
    chances = [1 - item.probability for item in labelled[:8]]
    assert all(0.05 < chance < 0.3 for chance in chances)
    assert sum(chances) == pytest.approx(1, abs=0.2)
    assert [item.label for item in labelled[:8]].count(Label.UNKNOWN) == 1  # whose line is the cold one


def test_one_request_alone_is_surely_cold_and_confidence_tells_the_two_apart() -> None:
    alone, many = (joined(*burst(2, waiting=waiting, apart_ms=0.2, late_ms=0.0)) for waiting in (1, 8))
    assert alone[0][0].label is Label.COLD
    assert alone[0][0].probability > 0.99
    sure, doubtful = (
        Study(RunFolder(Path(), RequestTable(), None), labelled, None, {}, Method.LOG_JOIN, use).confidence
        for labelled, use in (alone, many)
    )
    assert doubtful < sure


def test_a_cold_line_that_came_too_late_for_its_request_is_given_to_the_one_it_explains() -> None:
    """Every other line in reach is another's, and of all that waited this one alone took as long as a start."""
    requests, events = burst(3, waiting=1, apart_ms=0.0, late_ms=0.0)
    late = ClientRequest(0, requests[0].start_s, requests[0].response_ms + 2600, 200)  # beside the first warm lines
    labelled, use = joined([late, *requests[1:]], events)
    assert labelled[0].label is Label.COLD
    assert 0.7 <= labelled[0].probability < 1
    assert use.cold_left_over == 0
