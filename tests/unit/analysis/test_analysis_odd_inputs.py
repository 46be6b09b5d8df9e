"""Files as other people have them: what they say is read, what they lack is said, nothing is invented."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_aws import AwsRun, make_aws_run

from preheat.analysis.inputs import locust_html, locust_log
from preheat.analysis.inputs.lambda_lines import parse_report
from preheat.analysis.inputs.locust_tables import LocustTables, combined, parse_table
from preheat.analysis.report import write_report
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise

RUN = make_aws_run(seed=3, prewarmed=2, users=30, run_time_s=40)
LOG = RUN.locust_log()
LINES = LOG.split("\n")
COLD = RUN.truth.count("cold")
TEXT = 'Response text: {"predictions": [2]}'
OTHERS = f"""\
{LINES[1][:25]} laptop/WARNING/locust.runners: CPU usage above 90%! This may constrain your throughput
{LINES[1][:25]} laptop/DEBUG/urllib3.connectionpool: https://x.execute-api:443 "POST /default/iris HTTP/1.1" 200 33
Traceback (most recent call last):
  File "locustfile.py", line 30, in predict
urllib3.exceptions.ReadTimeoutError: Response time: 5 ms
"""


def later(run: AwsRun, hours: float) -> AwsRun:
    for item in run.sent:
        item.start_s += hours * 3600
    for line in run.lines:
        line.at_s += hours * 3600
    return run


def put_back_an_hour(text: str, clock: str) -> str:
    """As if the local clock had been put back when it showed `clock` (minutes and seconds)."""

    def earlier(found: re.Match[str]) -> str:
        return f"[{found[1]} {int(found[2]) - (found[3] >= clock):02d}:{found[3]}]"

    return re.sub(r"^\[(\d{4}-\d\d-\d\d) (\d\d):(\d\d:\d\d,\d+)\]", earlier, text, flags=re.MULTILINE)


@dataclass
class Case:
    """`codes` are the warnings that must be there and `never` those that must not; `cold` of the real cold starts."""

    files: dict[str, str | bytes]
    method: str = "latency-model"
    requests: int = len(RUN.sent)
    cold: int = COLD
    codes: tuple[str, ...] = ("journal-missing",)
    never: tuple[str, ...] = ("interrupted", "no-status", "log-not-joined", "clock-changed")


def locust(text: str | bytes, **expected: Any) -> Case:
    return Case({"test_locust_logs.txt": text}, **expected)


NOISY = "\n".join(line + ("\n" + OTHERS if number % 9 == 4 else "") for number, line in enumerate(LINES))
SECOND = later(make_aws_run(seed=4, users=30, run_time_s=40), 1).locust_log().replace(" 16:26:39", " 17:26:39")
REFUSED = make_aws_run(seed=3, refused=True, users=30, run_time_s=40)
STATS = "Type,Name,Request Count,Failure Count\n,Aggregated,300,0\n"
FORGED = "Response text: [2024-10-24 18:20:31,500] laptop/INFO/root: Response time: 1.00 ms"

LOCUST = {
    "host with dots": locust(LOG.replace("laptop/", "Juans-MacBook-Pro.local/")),
    "host with slashes": locust(LOG.replace("laptop/", "ip-10-0-0-1/x.ec2.internal/")),
    "host with spaces": locust(LOG.replace("laptop/", "DESKTOP 7 [x]/")),
    "Windows": locust(LOG.replace("\n", "\r\n").encode("utf-16")),
    "Chinese Windows": locust(LOG.replace("predictions", "预测").replace("\n", "\r\n").encode("gb18030")),
    "Latin-1": locust(LOG.replace("predictions", "pr\u00e9dictions").encode("latin-1")),
    "no encoding at all": locust(LOG.replace("predictions", "\0\udc80").encode("utf-8", "surrogateescape")),
    "text over several lines": locust(LOG.replace(TEXT, 'Response text: {\n  "p": [\n2]\n}\nResponse time: 9 ms')),
    "text that looks like a line": locust(LOG.replace(TEXT, FORGED)),
    "other loggers and tracebacks": locust(NOISY),
    "times in seconds": locust(
        re.sub(r"time: ([\d.]+) ms", lambda found: f"time: {float(found[1]) / 1000:.5f} seconds", LOG)
    ),
    "cut in the middle of a line": locust(LOG[: LOG.index("code: 200", len(LOG) * 6 // 10) + 7], requests=181,
        codes=("interrupted", "journal-missing"), never=()),
    "cut, but counted": Case({"a.txt": LOG[: len(LOG) * 6 // 10], "t_stats.csv": STATS}, requests=180,
        codes=("requests-missing", "interrupted"), never=()),
    "two runs in one file": locust(LOG + SECOND, requests=592, cold=36),
    "clock put back": locust(put_back_an_hour(LOG, "27:00"), codes=("clock-changed",), never=()),
    "no status lines": locust("\n".join(line for line in LINES if "status" not in line), codes=("status-unknown",)),
    "refused": locust(REFUSED.locust_log(), method="none", requests=len(REFUSED.sent), cold=0,
        codes=("none-reached-function", "failed-requests")),
    "only server errors": locust(LOG.replace("code: 200", "code: 502"), method="none", cold=0,
        codes=("cold-unknown", "failed-requests")),
    "no answers": locust(LOG.replace("code: 200", "code: 0"), method="none", cold=0, codes=("cold-unknown",)),
    "nothing but the beginning": locust("\n".join(LINES[:2]), method="none", requests=0, cold=0,
        codes=("interrupted", "no-requests"), never=()),
}  # fmt: skip


def table(header: Iterable[str], rows: Iterable[Iterable[Any]], delimiter: str = ",") -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n", delimiter=delimiter)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def iso(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


EVENTS = RUN.events()
FIGURES = ["@timestamp", "@type", "@requestId", "@duration", "@billedDuration", "@memorySize", "@maxMemoryUsed"]
BY_FIGURES = table(
    [*FIGURES, "@initDuration"],
    [
        (iso(line.at_s), "REPORT", line.request_id, line.duration_ms, 9, 1.28e8, 9e7, line.init_ms or "")
        for line in reversed(RUN.lines)
    ],
)
JSON_MESSAGES = [
    (round(line.at_s * 1000), text) for line, text in zip(RUN.lines, RUN.json_log().splitlines(), strict=True)
]


def traced(message: str) -> str:
    tail = "\t\nXRAY TraceId: 1-5bda\tSegmentId: 2d\tSampled: true\t\n"
    return message.replace("\t\n", tail) if message.startswith("REPORT") else message


def joined(name: str, text: str, **expected: Any) -> Case:
    expected = {"method": "log-join", "codes": ("few-cold",), **expected}
    return Case({"test_locust_logs.txt": LOG, name: text}, **expected)


MS = [(round(at * 1000), message) for at, message, _ in EVENTS]
CLOUDWATCH = {
    "Insights with pointers, newest first": joined("logs-insights-results.csv", table(
        ["@timestamp", "@message", "@logStream", "@log", "@ptr"],
        [(iso(at), message, stream, "1:/aws/lambda/x", "CmE") for at, message, stream in reversed(EVENTS)])),
    "Insights, parsed columns only": joined("results.csv", BY_FIGURES),
    "Insights, message and empty columns": joined("results.csv", table(
        ["@timestamp", "@message", "@duration", "@initDuration"],
        [(iso(at), message, "", "") for at, message, _ in EVENTS])),
    "a query's result as JSON": joined("results.json", json.dumps({"status": "Complete", "results": [
        [{"field": "@timestamp", "value": iso(at)}, {"field": "@message", "value": message}]
        for at, message, _ in EVENTS]})),
    "console with a byte order mark": joined("x.csv", "\ufeff" + table(["timestamp", "message"], MS)),
    "console, ISO times": joined("log-events-viewer-result.csv", table(
        ["timestamp", "message"], [(iso(at).replace(" ", "T") + "Z", message) for at, message, _ in EVENTS])),
    "console, only REPORT": joined("x.csv", table(
        ["timestamp", "message"], [(at, message) for at, message in MS if message.startswith("REPORT")])),
    "semicolons": joined("x.csv", table(["timestamp", "message"], MS, ";")),
    "tabs lost": joined("x.csv", table(["timestamp", "message"], [(at, " ".join(text.split())) for at, text in MS])),
    "X-Ray on a second line": joined("x.csv", table(["timestamp", "message"], [(at, traced(text)) for at, text in MS])),
    "restored from snapshots": joined("x.csv", table(
        ["timestamp", "message"], [(at, message.replace("Init Dur", "Restore Dur")) for at, message in MS])),
    "JSON log format": joined("x.json", RUN.json_log()),
    "JSON log format in the console's CSV": joined("x.csv", table(["timestamp", "message"], JSON_MESSAGES)),
    "get-log-events": joined("x.json", json.dumps({"nextForwardToken": "f", "events": [
        {"timestamp": at, "message": message, "ingestionTime": at} for at, message in MS]})),
    "copied from the console": joined("x.txt", "\n".join(
        f"{iso(at).replace(' ', 'T')}Z\n{message}" for at, message, _ in EVENTS)),
    "clock put back": Case({"a.txt": put_back_an_hour(LOG, "27:00"), "b.csv": RUN.insights_csv()}, "log-join",
        codes=("clock-changed",), never=("unmatched", "reports-left-over")),
    "two runs and both logs": Case(
        {"a.txt": LOG, "b.txt": SECOND, "c.csv": RUN.insights_csv(),
         "d.csv": later(make_aws_run(seed=4, users=30, run_time_s=40), 1).insights_csv()},
        "log-join", requests=592, cold=36, codes=(), never=("unmatched", "reports-left-over", "log-not-joined")),
    "times cut to seconds": joined("x.csv", table(["timestamp", "message"], [(f"{at:.5E}", text) for at, text in MS]),
        method="latency-model", codes=("log-not-joined",), never=()),
    "the log of another run": Case({"a.txt": LOG, "b.csv": later(make_aws_run(seed=9), 50).insights_csv()},
        codes=("log-not-joined",), never=()),
}  # fmt: skip


def summary_of(case: Case, folder: Path) -> dict[str, Any]:
    for name, content in case.files.items():
        (folder / name).write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")
        )
    return summarise(load_study(folder), {})


@pytest.mark.parametrize("case", [*LOCUST.values(), *CLOUDWATCH.values()], ids=[*LOCUST, *CLOUDWATCH])
def test_odd_files_say_what_they_say(case: Case, tmp_path: Path) -> None:
    summary = summary_of(case, tmp_path)
    assert (summary["requests"], summary["label_method"], summary["cold"]) == (case.requests, case.method, case.cold)
    counted = ("cold", "warm", "throttled", "failed_before_function", "failed_in_function", "unmatched", "unknown")
    assert sum(summary[name] for name in counted) == case.requests
    assert summary["ok"] + sum(summary["failed"].values()) == case.requests
    codes = {warning["code"] for warning in summary["warnings"]}
    assert set(case.codes) <= codes
    assert not codes & set(case.never)
    least = {"log-join": 0.99, "latency-model": 0.75, "none": 0.0}[case.method]
    assert least <= summary["label_confidence"] <= (0.9 if case.method == "latency-model" else 1.0)
    if case.cold == COLD:
        assert summary["cold_ms"]["p50"] == pytest.approx(1943.59, abs=0.02)


REPORTS = "".join(message.split("\n")[0] + "\n" for _, message in MS if message.startswith("REPORT"))
ALONE = {
    "lines without times": ({"reports.txt": REPORTS}, "log-untimed"),
    "a query's limit": (
        {"x.csv": table(["@timestamp", "@message"], [(iso(at), text) for at, text, _ in (EVENTS * 4)[:1000]])},
        "log-cut",
    ),
    "a browser's copy of the report": ({"report.html": "@legacy", "x.txt": "hello"}, "aggregates-only"),
    "only a history": ({"test_stats_history.csv": "@history"}, "aggregates-only"),
}
HISTORY = """\
Timestamp,User Count,Type,Name,Requests/s,Failures/s,50%,95%,Total Request Count,Total Failure Count,\
Total Median Response Time,Total Average Response Time,Total Min Response Time,Total Max Response Time,\
Total Average Content Size
1729765230,10,,Aggregated,0.0,0.0,N/A,N/A,0,0,0,0.0,0,0,0
1729765231,20,POST,/default/iris,3.0,0.0,300,900,7,1,300,410.5,90.5,900.1,45
1729765231,20,,Aggregated,3.0,0.0,300,900,7,1,300,410.5,90.5,900.1,45
1729765232,20,,Aggre"""


@pytest.mark.parametrize("name", ALONE)
def test_half_a_record_becomes_a_whole_report(name: str, tmp_path: Path) -> None:
    files, code = ALONE[name]
    for file, content in files.items():
        (tmp_path / "given").mkdir(exist_ok=True)
        (tmp_path / "given" / file).write_text({"@history": HISTORY, "@legacy": LEGACY}.get(content, content))
    report = write_report(tmp_path)
    codes = [warning["code"] for warning in report.summary["warnings"]]
    assert code in codes
    assert "notebook-failed" not in codes
    text = (tmp_path / "summary.json").read_text()
    assert json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON")) == report.summary


def test_somebody_elses_report_is_read_and_kept(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(LEGACY)
    report = write_report(tmp_path)
    assert report.summary["requests"] == 46
    assert (tmp_path / "report.html").read_text() == LEGACY
    assert report.lines[-1] == f"Report: {tmp_path / 'preheat-report' / 'report.html'}"
    again = write_report(tmp_path / "preheat-report")
    assert again.summary["requests"] == 46
    assert again.lines[-1] == report.lines[-1]


def test_a_history_tells_what_was_counted() -> None:
    found = parse_table(HISTORY)
    assert found is not None
    assert (found.requests, found.failures, found.min_ms, found.max_ms, found.mean_ms) == (7, 1, 90.5, 900.1, 410.5)
    assert found.users == [(1729765230, 10), (1729765231, 20)]


def test_several_runs_are_added_and_one_runs_files_are_not() -> None:
    stats = [LocustTables(requests=number, failures=1, min_ms=number, max_ms=10, mean_ms=number, kind="stats")
             for number in (2, 6)]  # fmt: skip
    history = LocustTables(requests=5, failures=9, users=[(2.0, 3)], kind="history")
    failures = LocustTables(failed={"403": 2}, kind="failures")
    whole = combined([*stats, history, failures])
    assert (whole.requests, whole.failures, whole.min_ms, whole.mean_ms, whole.failed) == (8, 2, 2, 5, {"403": 2})
    assert whole.percentiles_ms == {}
    assert combined([stats[0], history]).requests == 2
    html = LocustTables(requests=3, failed={"403": 1}, kind="html")
    assert (combined([stats[0], html, failures]).requests, combined([html, failures]).failed) == (3, {"403": 2})
    assert combined([history]).requests == 5
    assert combined([]).requests is None


LEGACY = """<!DOCTYPE html>
<html><head><title>Test Report for locustfile.py</title><style>td { color: red }</style></head><body>
<h1>Locust Test Report</h1><table class="stats"><thead><tr><th>Method</th><th>Name</th><th># Requests</th>
<th># Fails</th><th>Average (ms)</th><th>Min (ms)</th><th>Max (ms)</th></tr></thead><tbody>
<tr><td>POST</td><td>/default/iris</td><td>46</td><td>2</td><td>21</td><td>5</td><td>99</td></tr>
<tr class="total"><td></td><td>Aggregated</td><td>46</td><td>2</td><td>21</td><td>5</td><td>99</td></tr></tbody></table>
<table><thead><tr><th>Method</th><th>Name</th><th>50%ile (ms)</th><th>95%ile (ms)</th></tr></thead><tbody>
<tr><td></td><td>Aggregated</td><td>20</td><td>80</td></tr></tbody></table>
<table><thead><tr><th>Method</th><th>Name</th><th>Error</th><th>Occurrences</th></tr></thead><tbody>
<tr><td>POST</td><td>/x</td><td>HTTPError(&#x27;403 Client Error: Forbidden for url: x&#x27;)</td><td>2</td></tr>
</tbody></table><script>var x = "<table><tr><td>";</script></body></html>"""


def test_the_report_of_an_old_locust_is_read(tmp_path: Path) -> None:
    (tmp_path / "report.htm").write_text(LEGACY)
    summary = summarise(load_study(tmp_path / "report.htm"), {})
    assert (summary["requests"], summary["ok"], summary["failed"]) == (46, 44, {"403": 2})
    assert (summary["all_ms"]["p50"], summary["all_ms"]["p95"], summary["all_ms"]["max"]) == (20, 80, 99)
    assert [warning["code"] for warning in summary["warnings"]] == ["aggregates-only"]


@given(st.text(max_size=200), st.integers(0, len(LEGACY)), st.integers(0, 30))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_no_page_breaks_the_reader(noise: str, place: int, lost: int) -> None:
    found = locust_html.parse(LEGACY[:place] + noise + LEGACY[place + lost :])
    assert found is None or found.requests is not None


def test_a_step_of_an_hour_is_the_clocks_unless_a_run_begins() -> None:
    """The hour that the clock was put forward is taken off again, an idle hour between two runs is not."""
    first, second = LINES[2][:25], LINES[2][:25].replace(" 16:", " 17:")
    rest = [f"{at} laptop/INFO/root: {text}" for at in (first, second) for text in ("Response time: 5 ms",)]
    assert locust_log.parse("\n".join(rest)).clock_changes == 1
    begun = f"{second} laptop/INFO/locust.main: Starting Locust 2.47.0"
    assert locust_log.parse("\n".join([rest[0], begun, rest[1]])).clock_changes == 0


milliseconds = st.floats(0, 1e6).map(lambda value: round(value, 2))


@given(milliseconds, milliseconds, st.integers(128, 10240), st.integers(1, 10240), st.none() | milliseconds,
       st.none() | milliseconds, st.sampled_from(["", "timeout", "error", "success"]), st.booleans())  # fmt: skip
def test_every_report_line_is_read_as_written(
    duration: float, billed: float, memory: int, used: int, init: float | None, restore: float | None, status: str,
    is_traced: bool,
) -> None:  # fmt: skip
    line = f"REPORT RequestId: a-b\tDuration: {duration:.2f} ms\tBilled Duration: {billed:.0f} ms\t"
    line += f"Memory Size: {memory} MB\tMax Memory Used: {used} MB\t"
    line += f"Init Duration: {init:.2f} ms\t" if init is not None else ""
    line += f"Restore Duration: {restore:.2f} ms\tBilled Restore Duration: 7 ms\t" if restore is not None else ""
    line += f"Status: {status}" if status else ""
    line += "\nXRAY TraceId: 1-x\tSegmentId: y\tSampled: true\t\n" if is_traced else "\n"
    found = parse_report(line)
    assert found is not None
    assert (found.duration_ms, found.memory_mb, found.max_memory_mb) == (duration, memory, used)
    assert found.init_ms == (pytest.approx(math.nan, nan_ok=True) if init is None else init)
    assert found.restore_ms == (pytest.approx(math.nan, nan_ok=True) if restore is None else restore)
    assert found.status == {"timeout": 2, "error": 1}.get(status, 0)


responses = st.lists(
    st.tuples(st.floats(0.01, 9e4).map(lambda value: round(value, 2)), st.sampled_from([200, 403, 429, 500, 502])),
    max_size=30,
)
words = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40)


@given(responses, words, st.sampled_from(["laptop", "a.b-c.local", "x y"]), st.sampled_from(["\n", "\r\n"]))
def test_every_log_is_read_as_written(answers: list[tuple[float, int]], text: str, host: str, end: str) -> None:
    out = []
    for number, (response_ms, status) in enumerate(answers):
        at = f"[2024-10-24 18:{number // 60:02d}:{number % 60:02d},250]"
        said = (f"Response time: {response_ms:.2f} ms", f"Response status code: {status}", f"Response text: {text}")
        out += [f"{at} {host}/INFO/root: {line}" for line in said]
    log = locust_log.parse(end.join(out).replace("\r\n", "\n"))
    assert sorted((item.response_ms, item.status) for item in log.requests) == sorted(answers)
    assert (log.incomplete, log.clock_changes, log.without_status) == (0, 0, 0)
