"""Locust's own files are read as people have them: any encoding, any line ends, cut off, several at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_aws import make_aws_run

from preheat.analysis.inputs import locust_html, locust_log, locust_tables
from preheat.analysis.inputs.text import decode
from preheat.analysis.study import load_study

LOG = """\
[2024-10-24 18:20:30,403] some-MacBook-Air/INFO/locust.main: Starting Locust 2.32.0
[2024-10-24 18:20:30,408] some-MacBook-Air/INFO/locust.runners: Ramping to 10 users at a rate of 20.00 per second
[2024-10-24 18:20:30,409] some-MacBook-Air/INFO/locust.runners: All users spawned: {"U": 10} (10 total users)
[2024-10-24 18:20:31,500] some-MacBook-Air/INFO/root: Response time: 1085.50 ms
[2024-10-24 18:20:31,501] some-MacBook-Air/INFO/root: Response status code: 200
[2024-10-24 18:20:31,501] some-MacBook-Air/INFO/root: Response text: {"message": "预测成功
second line of the text"}

[2024-10-24 18:20:31,700] some-MacBook-Air/INFO/root: Response time: 250.25 ms
[2024-10-24 18:20:31,701] some-MacBook-Air/INFO/root: Response status code: 403
[2024-10-24 18:20:31,701] some-MacBook-Air/INFO/root: Response text: {"message":"Forbidden"}
[2024-10-24 18:21:30,251] some-MacBook-Air/INFO/locust.main: --run-time limit reached, shutting down
[2024-10-24 18:21:30,349] some-MacBook-Air/INFO/locust.main: Shutting down (exit code 1)
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_the_log_is_read_whatever_wrote_it(encoding: str, ends: str) -> None:
    log = locust_log.parse(decode(LOG.replace("\n", ends).encode(encoding)))
    assert [(r.response_ms, r.status) for r in log.requests] == [(1085.5, 200), (250.25, 403)]
    assert log.requests[0].end_s - log.requests[0].start_s == pytest.approx(1.0855)
    assert [(ramp.users, ramp.per_s) for ramp in log.ramps] == [(10, 20.0)]
    assert (log.started, log.finished, log.incomplete) == (1, 1, 0)
    assert "预测成功" in log.first_text


def test_a_log_that_is_cut_off_says_so(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(LOG.encode()[: LOG.encode().index(b": 403") - 10])
    study = load_study(tmp_path)
    assert [item.request.status for item in study.labelled] == [200, 0]
    assert study.folder.interrupted
    assert study.folder.incomplete == 1


def test_latin_1_and_broken_utf_8_are_read_too() -> None:
    assert locust_log.looks_like(decode(LOG.replace("预测成功", "caf\u00e9").encode("latin-1")))
    assert len(locust_log.parse(decode(LOG.encode()[:-1] + b"\xe9")).requests) == 2


def test_responses_of_two_sources_do_not_mix() -> None:
    lines = [
        "[2024-10-24 18:20:31,500] a/INFO/root: Response time: 10.00 ms",
        "[2024-10-24 18:20:31,500] b/INFO/root: Response time: 20.00 ms",
        "[2024-10-24 18:20:31,501] b/INFO/root: Response status code: 500",
        "[2024-10-24 18:20:31,501] a/INFO/root: Response status code: 200",
    ]
    log = locust_log.parse("\n".join(lines))
    assert {(r.response_ms, r.status) for r in log.requests} == {(10.0, 200), (20.0, 500)}


@given(st.text(max_size=300), st.integers(0, len(LOG)))
def test_no_text_breaks_the_reader(noise: str, place: int) -> None:
    log = locust_log.parse(LOG[:place] + noise + LOG[place:])
    assert all(request.response_ms >= 0 for request in log.requests)


@given(st.binary(max_size=200))
def test_every_byte_string_is_text(data: bytes) -> None:
    assert "\r" not in decode(data)


STATS = """\
Type,Name,Request Count,Failure Count,Median Response Time,Average Response Time,Min Response Time,Max Response Time,\
Average Content Size,Requests/s,Failures/s,50%,66%,75%,80%,90%,95%,98%,99%,99.9%,99.99%,100%
POST,/default/iris,1400,3,320,398.6,284.1,1134.8,45.0,23.3,0.05,320,330,330,340,420,890,1100,1100,1100,1100,1100
,Aggregated,1400,3,320,398.6,284.1,1134.8,45.0,23.3,0.05,320,330,330,340,420,890,1100,1100,1100,1100,1100
"""
FAILURES = """\
Method,Name,Error,Occurrences,First Seen,Last Seen
POST,/default/iris,HTTPError('403 Client Error: Forbidden for url: /default/iris'),2,a,b
POST,/default/iris,"ConnectionError(MaxRetryError(""refused""))",1,a,b
"""


def test_the_tables_are_told_by_their_headers() -> None:
    stats, failures = locust_tables.parse_table(STATS), locust_tables.parse_table(FAILURES)
    assert stats is not None
    assert failures is not None
    assert (stats.requests, stats.failures, stats.percentiles_ms["95%"], stats.max_ms) == (1400, 3, 890, 1134.8)
    assert failures.failed == {"0": 1, "403": 2}
    assert locust_tables.parse_table("a,b\n1,2\n") is None


def test_aggregates_alone_claim_nothing(tmp_path: Path) -> None:
    from preheat.analysis.summary import summarise

    (tmp_path / "t_stats.csv").write_text(STATS)
    (tmp_path / "t_failures.csv").write_text(FAILURES)
    summary = summarise(load_study(tmp_path), {})
    assert (summary["requests"], summary["ok"], summary["failed"]) == (1400, 1397, {"0": 1, "403": 2})
    assert (summary["cold"], summary["unknown"], summary["label_method"]) == (0, 1400, "none")
    assert summary["all_ms"]["p95"] == 890
    assert "aggregates-only" in {warning["code"] for warning in summary["warnings"]}


def test_the_html_report_carries_the_same() -> None:
    html = (
        'x window.templateArgs = {"requests_statistics": [{"name": "Aggregated", "num_requests": 46, '
        '"num_failures": 2, '
        '"min_response_time": 1.0, "max_response_time": 9.0, "avg_response_time": 2.1}], "response_time_statistics": '
        '[{"name": "Aggregated", "0.5": 2, "0.95": 8}], "failures_statistics": [{"error": "HTTPError(\\u0027404 Client '
        'Error: x\\u0027)", "occurrences": 2}], "history": [{"time": "2026-11-22T17:17:40Z", "user_count": [1, 4]}]}; y'
    )
    tables = locust_html.parse(html)
    assert tables is not None
    assert (tables.requests, tables.failed, tables.percentiles_ms) == (46, {"404": 2}, {"50%": 2.0, "95%": 8.0})
    assert tables.users[0][1] == 4


def test_two_runs_are_read_together(tmp_path: Path) -> None:
    for number in (1, 2):
        run = make_aws_run(seed=number, users=5, run_time_s=20)
        (tmp_path / f"run{number}.txt").write_text(run.locust_log())
    study = load_study(tmp_path / "run1.txt", tmp_path / "run2.txt")
    assert len(study.folder.ramps) == 2
    assert study.folder.sources == ["run1.txt", "run2.txt"]
