"""The offset between two clocks, where a log holds more than the run: nobody deletes a log group before each run."""

from __future__ import annotations

from pathlib import Path

import pytest
from accuracy import Score, score
from synthetic_aws import AwsRun, Sent, make_aws_run

from preheat.analysis.connections import first_requests
from preheat.analysis.inputs import locust_log
from preheat.analysis.labels import Label, Method
from preheat.analysis.page import _sample
from preheat.analysis.requests_csv import ClientRequest
from preheat.analysis.study import Study, load_study
from preheat.analysis.summary import summarise

EVERY_S = 15.0
"""From the beginning of one run to that of the next."""


def afternoon(*, seeds: range = range(1, 25), wait_s: tuple[float, float] = (1.0, 2.0)) -> list[AwsRun]:
    """Runs of one function soon after each other."""
    runs = [
        make_aws_run(seed=seed, users=20, per_s=5, run_time_s=12, wait_s=wait_s, warm_ms=(34.0, 0.1), rtt_ms=1.0)
        for seed in seeds
    ]
    for number, run in enumerate(runs):
        for item in run.sent:
            item.start_s += number * EVERY_S
        for line in run.lines:
            line.at_s += number * EVERY_S
    return runs


def joined(runs: list[AwsRun], number: int, folder: Path) -> Study:
    """The Locust log of one of the runs with the function's log of them all."""
    (folder / "log.txt").write_text(runs[number].locust_log(zone_h=5.75), encoding="utf-8")
    (folder / "all.csv").write_text(AwsRun([], [line for run in runs for line in run.lines]).insights_csv())
    return load_study(folder)


@pytest.mark.parametrize("number", [0, 5, 12, 23])
def test_a_run_finds_its_own_lines_in_a_log_of_many(number: int, tmp_path: Path) -> None:
    runs = afternoon()
    study = joined(runs, number, tmp_path)
    assert study.method is Method.LOG_JOIN
    assert study.use is not None
    assert study.use.clock is not None
    assert study.use.clock.offset_ms == pytest.approx(5.75 * 3_600_000, abs=500)
    found = score(runs[number], study, Score())
    assert found.accuracy is not None
    assert found.accuracy > 0.97
    assert found.unknown < 0.1


@pytest.mark.parametrize("number", [0, 3])
def test_users_in_step_are_not_joined_a_beat_too_late(number: int, tmp_path: Path) -> None:
    """With a constant wait a run looks like itself a second later, and like every other run of the log."""
    runs = afternoon(wait_s=(1.0, 1.0))
    study = joined(runs, number, tmp_path)
    if study.use is not None and study.use.clock is not None:
        assert study.use.clock.offset_ms == pytest.approx(5.75 * 3_600_000, abs=500)
        found = score(runs[number], study, Score())
        assert found.accuracy is not None
        assert found.accuracy > 0.97


def test_a_log_of_other_runs_only_is_left_alone(tmp_path: Path) -> None:
    runs = afternoon()
    mine = runs.pop(3)
    runs.insert(3, AwsRun([Sent(0, 1, 200, 0, True, "warm")], []))
    (tmp_path / "log.txt").write_text(mine.locust_log(zone_h=5.75), encoding="utf-8")
    (tmp_path / "all.csv").write_text(AwsRun([], [line for run in runs for line in run.lines]).insights_csv())
    study = load_study(tmp_path)
    assert study.use is None
    assert study.method is not Method.LOG_JOIN


def test_a_guess_at_set_up_keeps_no_pair_apart(tmp_path: Path) -> None:
    """First requests that were slower for another reason make set-up look long; what then is left of a first request
    that was fast is shorter than its own handler."""
    run = make_aws_run(seed=5, users=20, per_s=5, run_time_s=12, warm_ms=(34.0, 0.05), rtt_ms=1.0, init_ms=None)
    for number, item in enumerate(item for item in run.sent if item.first):
        item.response_ms += 3 * number
        item.start_s -= 0.003 * number
    study = joined([run], 0, tmp_path)
    assert study.setup.times_ms
    assert sum(item.report >= 0 for item in study.labelled) == len(run.sent)


def test_a_handler_that_raised_has_failed_although_its_line_does_not_say_so(tmp_path: Path) -> None:
    run = make_aws_run(seed=2, users=12, run_time_s=20, prewarmed=3)
    bad = [item for item in run.sent if item.truth == "warm"][::9]
    for item in bad:
        item.status = 502
    study = joined([run], 0, tmp_path)
    assert study.counts[Label.FAILED_IN_FUNCTION] == len(bad)
    assert not any(item.label == "warm" and item.request.status == 502 for item in study.labelled)


def test_a_cold_request_whose_answer_has_no_room_for_the_start_did_not_wait_for_it(tmp_path: Path) -> None:
    """The environment had been started for another request, which an older environment then took."""
    run = make_aws_run(seed=2, users=12, run_time_s=20, prewarmed=3)
    cold = next(item for item in run.sent if item.truth == "cold")
    line = next(line for line in run.lines if line.request_id == cold.request_id)
    late_ms = cold.response_ms - line.duration_ms - 20
    cold.start_s += late_ms / 1000
    cold.response_ms -= late_ms
    study = joined([run], 0, tmp_path)
    (found,) = [each for each in study.select(Label.COLD) if each.request.response_ms == round(cold.response_ms, 2)]
    assert found.ready
    assert not found.waited
    summary = summarise(study, {})
    assert summary["cold_ready"] == 1
    assert summary["decomposition"]["inexact"] == 0
    assert summary["cold_waited_ms"]["n"] == summary["cold"] - 1


def test_the_lines_of_another_runs_invocation_are_not_shown_as_this_ones(tmp_path: Path) -> None:
    runs = afternoon(seeds=range(1, 4))
    for number, shown in ((0, True), (2, False)):
        (tmp_path / str(number)).mkdir()
        study = joined(runs, number, tmp_path / str(number))
        headings = [heading for heading, _ in _sample(study)]
        assert ("Log events" in headings) is shown


@pytest.mark.parametrize(
    ("line", "users", "per_s", "spread"),
    [
        ("Ramping to 20 users at a rate of 5.00 per second", 20, 5.0, False),
        ("Spawning 20 users at the rate 5 users/s (0 users already running)...", 20, 5.0, True),
        ("Sending spawn jobs of 20 users at 5.00 spawn rate to 2 ready workers", 20, 5.0, False),
        ("Sending spawn jobs of 20 users and 5.00 spawn rate to 2 ready clients", 20, 5.0, False),
    ],
)
def test_every_locusts_ramp_tells_the_first_requests(line: str, users: int, per_s: float, spread: bool) -> None:
    log = locust_log.parse(f"[2024-10-24 18:20:30,000] laptop/INFO/locust.runners: {line}\n")
    assert log.ramps == [locust_log.Ramp(1729794030.0, users, per_s, spread=spread)]
    starts = [1729794030.0 + (number / per_s if spread else number // 5) + 0.01 for number in range(users)]
    requests = [ClientRequest(number, at, 30.0, 200) for number, at in enumerate([*starts, starts[-1] + 4.0])]
    assert first_requests(requests, log.ramps).tolist() == [True] * users + [False]
