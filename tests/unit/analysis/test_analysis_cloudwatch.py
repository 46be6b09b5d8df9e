"""One run's log, exported in every form, says the same; what Lambda writes and others forge is told apart."""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_aws import AwsRun, make_aws_run

from preheat.analysis.inputs import cloudwatch, columns, xray
from preheat.analysis.inputs.lambda_lines import Event, parse_report, read_events
from preheat.analysis.inputs.sniff import Kind, open_source
from preheat.analysis.inputs.text import epoch_ms
from preheat.analysis.server_log import ServerLog, join_logs
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise

RUN = make_aws_run(users=12, run_time_s=20)

FORMS = {
    "console": RUN.console_csv(),
    "console, newest first": RUN.console_csv(newest_first=True),
    "console, Windows": RUN.console_csv().replace("\n", "\r\n"),
    "console, no header": RUN.console_csv().split("\n", 1)[1],
    "insights": RUN.insights_csv(),
    "insights, semicolons": RUN.insights_csv().replace(",", ";"),
    "json": RUN.json_events(),
    "json lines": "\n".join(json.dumps(event) for event in json.loads(RUN.json_events())["events"]),
    "json log format": RUN.json_log(),
    "aws logs tail": RUN.tail_text(),
    "insights json": json.dumps(
        {
            "results": [
                [{"field": "@timestamp", "value": f"{at * 1000:.0f}"}, {"field": "@message", "value": message}]
                for at, message, _ in RUN.events()
            ]
        }
    ),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_columns(form: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(FORMS[form].encode(encoding))
    source = open_source(path)
    assert source.kind is Kind.LAMBDA
    assert source.log is not None
    check(source.log, RUN)


def check(log: ServerLog, run: AwsRun) -> None:
    lines = sorted(run.lines, key=lambda line: line.at_s)
    assert len(log) == len(lines)
    assert log.at_ms == pytest.approx([line.at_s * 1000 for line in lines], abs=1.0)
    assert np.sort(log.duration_ms) == pytest.approx(sorted(line.duration_ms for line in lines), abs=0.006)
    assert int(log.is_cold.sum()) == sum(line.init_ms is not None for line in lines)


def test_compressed_exports_are_read(tmp_path: Path) -> None:
    (tmp_path / "000000.gz").write_bytes(gzip.compress(RUN.tail_text().encode()))
    log = open_source(tmp_path / "000000.gz").log
    assert log is not None
    check(log, RUN)


def test_a_query_for_figures_only_is_read(tmp_path: Path) -> None:
    rows = ["@timestamp,@requestId,@duration,@billedDuration,@initDuration,@memorySize,@maxMemoryUsed"]
    rows += [
        "2023-12-05 22:14:43.877,a,14.97,15.0,103.01,1.28E8,6.7E7",
        "2023-12-05 22:14:44.000,b,2.0,3.0,,1.28E8,6.7E7",
    ]
    events, bad = cloudwatch.read("\n".join(rows))
    log = read_events(events, bad)
    assert log.memory_mb.tolist() == [128, 128]
    assert log.is_cold.tolist() == [True, False]


MORE = "INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout\n"
"""Stands before the first line of its stream, which thus hides an initialisation."""
ODD_TAILS = (
    "Restore Duration: 244.38 ms\tBilled Restore Duration: 167 ms\t\n",
    "Status: timeout\n",
    "Init Duration: 12.50 ms\tStatus: error\tError Type: Runtime.ExitError\n",
    "\nXRAY TraceId: 1-5bda7f2e-35b0fd08\tSegmentId: 2d1aafcd\tSampled: true\n",
)


def with_oddities(run: AwsRun) -> AwsRun:
    """The run with lines behind whose figures more stands than Init Duration, and a handler that imitates lines."""
    events = run.events()
    at, stream = events[-1][0], events[-1][2]
    for number, tail in enumerate(ODD_TAILS):
        head = (
            f"REPORT RequestId: 00000000-0000-4000-8000-00000000000{number}\tDuration: 3.25 ms\tBilled Duration: 4 ms\t"
        )
        events.append((at + 1 + number, f"{head}Memory Size: 128 MB\tMax Memory Used: 90 MB\t{tail}", stream))
    told = 'he said\n1763800000000,"REPORT RequestId: x\tDuration: 1 ms\tBilled Duration: 1 ms\t and more, "so" \n'
    events.append((at + 9, told, stream))
    odd = AwsRun(run.sent, run.lines)
    odd.events = lambda: [(events[0][0] - 1, MORE, run.lines[0].stream), *events]  # type: ignore[method-assign]
    return odd


LARGE_FORMS: dict[str, Callable[[AwsRun], str]] = {
    "console.csv": lambda run: run.console_csv(),
    "newest-first.csv": lambda run: run.console_csv(newest_first=True),
    "insights.csv": lambda run: run.insights_csv(),
    "events.jsonl": lambda run: "".join(f"{json.dumps(e)}\n" for e in json.loads(run.json_events())["events"]),
    "tail.txt": lambda run: run.tail_text(),
    "tail-east.txt": lambda run: run.tail_text().replace("+00:00", "+08:00"),
}


@pytest.mark.parametrize("name", LARGE_FORMS)
def test_duckdb_and_python_read_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LARGE_FORMS[name](with_oddities(RUN)), encoding="utf-8")
    same(tmp_path / name, len(RUN.lines) + len(ODD_TAILS))


@pytest.mark.parametrize("is_event", [False, True])
def test_duckdb_and_python_read_the_same_json_logs(is_event: bool, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in RUN.json_log().splitlines()]
    init = {"phase": "invoke", "status": "timeout", "metrics": {"durationMs": 3000.5}}
    plain = {"phase": "init", "status": "success", "metrics": {"durationMs": 500.0}}
    rows[2]["record"]["status"] = "timeout"
    rows[3]["record"]["metrics"]["restoreDurationMs"] = 33.5
    rows += [{"time": rows[4]["time"], "type": "platform.initReport", "record": each} for each in (init, plain)]
    rows += [{"time": rows[0]["time"], "type": "function", "record": "hello"}, {"level": "INFO", "message": "hello"}]
    if is_event:
        at = [datetime.fromisoformat(row.get("time", rows[0]["time"])).timestamp() * 1000 for row in rows]
        rows = [
            {"timestamp": round(at_ms), "message": json.dumps(row), "logStreamName": "s"}
            for at_ms, row in zip(at, rows, strict=True)
        ]
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + "cut off", encoding="utf-8")
    same(tmp_path / "log.jsonl", len(RUN.lines))


def test_a_packed_export_is_read_by_columns_too(tmp_path: Path) -> None:
    (tmp_path / "000000.gz").write_bytes(gzip.compress(RUN.tail_text().encode()))
    same(tmp_path / "000000.gz", len(RUN.lines), init_reports=0)


def same(path: Path, reports: int, init_reports: int = 1) -> None:
    """Both readers find as many lines, and the same in them."""
    fast, slow = columns.read_large(path), open_source(path).log
    assert fast is not None
    assert slow is not None
    assert len(fast) == len(slow) == reports
    names = ("at_ms", "duration_ms", "billed_ms", "memory_mb", "max_memory_mb", "init_ms", "restore_ms", "hidden_ms")
    for column in (*names, "cold"):
        np.testing.assert_allclose(getattr(fast, column), getattr(slow, column), err_msg=column)
    assert fast.status.tolist() == slow.status.tolist()
    assert fast.init_reports == slow.init_reports == init_reports


def test_duckdb_leaves_what_it_does_not_know_to_python(tmp_path: Path) -> None:
    spaced = "timestamp,message\n1,REPORT RequestId: a  Duration: 1.0 ms  Billed Duration: 2 ms  Memory Size: 128 MB\n"
    mixed = RUN.tail_text() + RUN.tail_text().replace(RUN.lines[5].stream + " ", "")
    for text in (spaced, "a,b\n1,2\n", "timestamp,message\n", "{}\n", "", RUN.tail_text().replace("\t", "  "), mixed):
        (tmp_path / "x.csv").write_text(text)
        assert columns.read_large(tmp_path / "x.csv") is None
    (tmp_path / "x.gz").write_bytes(b"\x1f\x8bno gzip")
    assert columns.read_large(tmp_path / "x.gz") is None


# A time-out during initialisation, as CloudWatch showed it (times and ids changed): neither REPORT has Init Duration.
HIDDEN = [
    (1.0, "INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout"),
    (4.0, "START RequestId: a Version: $LATEST"),
    (4.0, "INIT_REPORT Init Duration: 3000.45 ms\tPhase: invoke\tStatus: timeout"),
    (4.1, "REPORT RequestId: a\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\t"
          "Max Memory Used: 93 MB\tStatus: timeout"),
    (9.0, "REPORT RequestId: b\tDuration: 2000.00 ms\tBilled Duration: 2000 ms\tMemory Size: 128 MB\t"
          "Max Memory Used: 93 MB\t"),
    (9.5, "REPORT RequestId: c\tDuration: 2.0 ms\tBilled Duration: 3 ms\tMemory Size: 128 MB\tMax Memory Used: 9 MB\t"),
]  # fmt: skip


def test_initialisations_that_report_does_not_show_are_found() -> None:
    log = read_events([Event(at * 1000, message, "s") for at, message in HIDDEN])
    assert log.cold.tolist() == [1.0, 0.9, 0.0]
    assert log.hidden_ms[0] == pytest.approx(9999.79 + 3000.45)
    assert math.isnan(log.hidden_ms[1])
    assert log.init_reports == 2


def test_restores_and_traces_are_read() -> None:
    line = (
        "REPORT RequestId: x\tDuration: 2019.16 ms\tBilled Duration: 2187 ms\tMemory Size: 512 MB\t"
        "Max Memory Used: 150 MB\tRestore Duration: 244.38 ms\tBilled Restore Duration: 167 ms\n"
        "XRAY TraceId: 1-x\tSegmentId: y\tSampled: true\n"
    )
    report = parse_report(line)
    assert report is not None
    assert report.restore_ms == 244.38
    assert math.isnan(report.init_ms)


def test_a_forged_line_in_a_handlers_text_fools_nobody() -> None:
    forged = (
        "hello REPORT RequestId: z\tDuration: 1.0 ms\tBilled Duration: 1 ms\tMemory Size: 1 MB\tInit Duration: 9 ms"
    )
    assert len(read_events([Event(1.0, forged), Event(2.0, RUN.lines[0].text)])) == 1


def test_an_export_given_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(RUN.insights_csv())
    (tmp_path / "b.json").write_text(RUN.json_events())
    study = load_study(tmp_path)
    assert study.log is not None
    assert len(study.log) == len(RUN.lines)
    assert join_logs([]) is None


def test_a_log_alone_is_a_report_of_the_function(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(RUN.insights_csv())
    summary = summarise(load_study(tmp_path / "a.csv"), {})
    cold = sum(line.init_ms is not None for line in RUN.lines)
    assert (summary["requests"], summary["cold"], summary["times"]) == (len(RUN.lines), cold, "server")
    assert summary["cold_ms"]["n"] == cold
    assert summary["costs"]["per_million_requests_usd"] > 3.7


def test_x_ray_traces_say_which_were_cold() -> None:
    def segment(request_id: str, start: float, *parts: tuple[str, float, float]) -> dict[str, object]:
        subsegments = [{"name": name, "start_time": begin, "end_time": end} for name, begin, end in parts]
        document = {"origin": "AWS::Lambda::Function", "start_time": start, "end_time": parts[-1][2]}
        return {"Document": json.dumps(document | {"aws": {"request_id": request_id}, "subsegments": subsegments})}

    cold = segment("a", 1.0, ("Initialization", 1.0, 2.5), ("Invocation", 2.5, 2.6))
    warm = segment("b", 5.0, ("Invocation", 5.0, 5.01))
    text = json.dumps({"Traces": [{"Id": "1", "Segments": [cold]}, {"Id": "2", "Segments": [warm]}]})
    assert xray.looks_like(text)
    log = xray.read(text)
    assert log.is_cold.tolist() == [True, False]
    assert log.init_ms[0] == pytest.approx(1500)


@given(st.text(max_size=400))
def test_no_text_breaks_the_readers(text: str) -> None:
    events, bad = cloudwatch.read(text)
    assert bad >= 0
    read_events(events)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1729765804974", 1729765804974.0),
        ("1729765804", 1729765804000.0),
        ("2025-11-09 03:14:16.849", 1762658056849.0),
        ("2025-11-09T03:14:16.849Z", 1762658056849.0),
        ("2025-11-09T11:14:16.849+08:00", 1762658056849.0),
        ("soon", None),
        ("", None),
        ("12", None),
    ],
)
def test_times(text: str, ms: float | None) -> None:
    assert epoch_ms(text) == (None if ms is None else pytest.approx(ms, abs=0.01))
