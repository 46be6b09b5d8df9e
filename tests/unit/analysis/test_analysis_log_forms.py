"""Every way in which the tools and the console hand a function's log around: with Locust's log beside it, each form
gives every request its true label; what holds no lines is refused by a sentence that says what to do."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from accuracy import Score, score
from click.testing import CliRunner
from synthetic_aws import make_aws_run

from preheat.analysis.inputs.sniff import open_source
from preheat.analysis.labels import Method
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise
from preheat.cli.report import command

RUN = make_aws_run(seed=3, prewarmed=2, users=30, run_time_s=40)
SAID = [(line.at_s + 0.004, "[INFO]\tsaid\n", line.stream) for line in RUN.lines]
EVENTS = sorted([*RUN.events(), *SAID], key=lambda event: event[0])
"""Lambda's events and a handler's, which lie between them."""
JSON_LOG = [json.loads(line) for line in RUN.json_log().splitlines()]


def ms(at_s: float) -> str:
    return f"{at_s * 1000:.0f}"


def iso(at_s: float, end: str = "Z", between: str = "T") -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime(f"%Y-%m-%d{between}%H:%M:%S.%f")[:-3] + end


def each(form: Callable[[float, str, str], str]) -> str:
    return "".join(form(*event) for event in EVENTS)


def queried(row: Callable[[float, str], object]) -> str:
    return json.dumps([row(round(at * 1000), message) for at, message, _ in EVENTS], indent=1)


def firehose() -> str:
    """What a subscription filter delivers: one document behind the other."""
    streams = sorted({stream for _, _, stream in EVENTS})
    return "".join(
        json.dumps(
            {
                "messageType": "DATA_MESSAGE",
                "logStream": stream,
                "logEvents": [
                    {"id": "3", "timestamp": round(at * 1000), "message": message}
                    for at, message, where in EVENTS
                    if where == stream
                ],
            }
        )
        for stream in streams
    )


COLOURS = "\x1b[32m{}\x1b[0m \x1b[36m{}\x1b[0m {}"
FORMS = {
    "filter-log-events --output text": each(
        lambda at, m, stream: f"EVENTS\t{10**55}\t{ms(at + 2)}\t{stream}\t{m}\t{ms(at)}\n"
    ),
    "get-log-events --output text": "b/0\tf/1\n" + each(lambda at, m, _: f"EVENTS\t{ms(at + 2)}\t{m}\t{ms(at)}\n"),
    "get-log-events --output table": "|  GetLogEvents  |\n+---+\n|| ingestionTime | message | timestamp ||\n"
    + each(lambda at, m, _: f"||  {ms(at + 2)}|  {m}            |  {ms(at)} ||\n"),
    "--query [timestamp,message], text": each(lambda at, m, _: f"{ms(at)}\t{m}\n"),
    "--query [message,timestamp], text": each(lambda at, m, _: f"{m}\t{ms(at)}\n"),
    "--query [timestamp,message], JSON": queried(lambda at, m: [at, m]),
    "--query [message,timestamp], JSON": queried(lambda at, m: [m, at]),
    "--query {t:timestamp,m:message}": queried(lambda at, m: {"t": at, "m": m}),
    "sam logs": each(lambda at, m, stream: f"{stream} {iso(at, '000')} {m}"),
    "sam logs in colours": each(lambda at, m, stream: COLOURS.format(stream, iso(at, "000"), m)),
    "aws logs tail in colours": each(lambda at, m, stream: COLOURS.format(iso(at, "000+00:00"), stream, m)),
    "aws logs tail --format json": "".join(
        f"{line['time'][:-1]}000+00:00 2025/11/22/[$LATEST]ab \n{json.dumps(line, indent=4)}\n" for line in JSON_LOG
    ),
    "console, copied as ASCII": "-----\n| timestamp | message |\n|-----|\n"
    + each(lambda at, m, _: f"| {ms(at)} | {' '.join(m.split()):<150} |\n"),
    "console, copied in local time": each(lambda at, m, _: f"{iso(at + 19_800, '+05:30')}\n{m}\n"),
    "Insights, copied as Markdown": "**CloudWatch Logs Insights**\n---\n| @timestamp | @message | @requestId |\n"
    + each(lambda at, m, _: f"| {iso(at, '', ' ')} | {m.rstrip(chr(10))} | id |\n"),
    "Insights, downloaded as JSON": json.dumps(
        [{"@timestamp": iso(at, "", " "), "@message": m, "@logStream": stream} for at, m, stream in reversed(EVENTS)]
    ),
    "Excel's first line": "sep=,\n" + RUN.insights_csv(),
    "PowerShell's first line": "#TYPE System.Object\n" + RUN.console_csv(),
    "a subscription's documents": firehose(),
    "a message longer than a CSV field of Python's": RUN.console_csv().replace(
        "message\n", 'message\n1763800000000,"' + 'said ""REPORT""\n' * 20_000 + '"\n', 1
    ),
    "a handler that prints a row": RUN.tail_text().replace(
        "\n", '\n1763800000000,"REPORT RequestId: x\tDuration: 1.0 ms\tBilled Duration: 1 ms\tMemory Size: 1 MB\n', 1
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_every_request_its_label(name: str, tmp_path: Path) -> None:
    (tmp_path / "locust.txt").write_text(RUN.locust_log(), encoding="utf-8")
    (tmp_path / "export.txt").write_text(FORMS[name], encoding="utf-8")
    log = open_source(tmp_path / "export.txt").log
    assert log is not None
    assert log.at_ms == pytest.approx(sorted(line.at_s * 1000 for line in RUN.lines), abs=1.0)
    assert (log.bad_rows, log.untimed) == (0, 0)
    study = load_study(tmp_path)
    assert study.method is Method.LOG_JOIN
    found = score(RUN, study, Score())
    assert found.right == found.requests == len(RUN.sent)


WITHOUT_TIMES = {
    "times rounded by Excel": "timestamp,message\n" + each(lambda at, m, _: f'{at * 1000:.5E},"{m}"\n'),
    "times rewritten by Excel": "@timestamp,@message\n" + each(lambda _, m, __: f'11/22/2025 8:26,"{m}"\n'),
    "--query events[].message": queried(lambda _, m: m),
    "nothing but messages": each(lambda _, m, __: m),
}


@pytest.mark.parametrize("name", WITHOUT_TIMES)
def test_lines_without_times_are_counted_and_not_joined(name: str, tmp_path: Path) -> None:
    (tmp_path / "locust.txt").write_text(RUN.locust_log(), encoding="utf-8")
    (tmp_path / "export.txt").write_text(WITHOUT_TIMES[name], encoding="utf-8")
    study = load_study(tmp_path)
    assert study.log is not None
    assert (len(study.log), study.log.untimed, study.log.bad_rows) == (len(RUN.lines), len(RUN.lines), 0)
    assert study.use is None
    warnings = {each["code"]: each["message"] for each in summarise(study, {})["warnings"]}
    assert "they need their times" in warnings["log-not-joined"]


def test_a_log_of_whole_seconds_is_told_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "locust.txt").write_text(RUN.locust_log(), encoding="utf-8")
    (tmp_path / "short.txt").write_text(each(lambda at, m, _: f"{iso(at, '')[:19]} {m}"), encoding="utf-8")
    warnings = {each["code"]: each["message"] for each in summarise(load_study(tmp_path), {})["warnings"]}
    assert "whole seconds" in warnings["log-not-joined"]


REFUSED: dict[str, tuple[bytes, str]] = {
    "book.xlsx": (b"PK\x03\x04\x14\0", "is an Excel workbook or a zip archive: export it as CSV, or unpack it"),
    "empty.txt": (b" \n", "is empty"),
    "000.gz": (gzip.compress(RUN.tail_text().encode())[:1000], "is a gzip file that is broken or cut off"),
    "001.gz": (b"\x1f\x8b\x08rubbish", "is a gzip file that is broken or cut off"),
    "events.yaml": (b'events:\n- message: "REPORT RequestId: x\\tDuration', "holds REPORT lines, but in no form that"),
    "stats.csv": (b"bin(5m),count(*)\n2024-10-24 18:20:00.000,3\n", "is a Logs Insights export without the lines"),
    "errors.csv": (
        b'timestamp,message\n1763800000000,"END RequestId: x\n"\n',
        "holds no REPORT line: the function did not run",
    ),
    "t_failures.csv": (b"Method,Name,Error,Occurrences\nPOST,/x,\"HTTPError('502')\",30\n", "lists failures or exce"),
    "notes.txt": (b"hello\n", "is no log of Locust's, none of its tables or reports, and no log of a function's"),
    "line.txt": (b"a" * 300_000, "is no log of Locust's, none of its tables or reports, and no log of a function's"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_says_nothing_of_a_run_is_refused_by_one_line(name: str, tmp_path: Path) -> None:
    data, sentence = REFUSED[name]
    (tmp_path / name).write_bytes(data)
    result = CliRunner().invoke(command, [str(tmp_path / name), "--quiet"])
    assert result.exit_code == 252
    assert result.output.startswith("preheat report: ")
    assert result.output.count("\n") == 1
    assert f"{name} {sentence}" in result.output


def test_a_file_that_was_given_for_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(RUN.console_csv(), encoding="utf-8")
    (tmp_path / "book.xlsx").write_bytes(b"PK\x03\x04")
    study = load_study(tmp_path / "log.csv", tmp_path / "book.xlsx")
    (found,) = [each for each in summarise(study, {})["warnings"] if each["code"] == "not-read"]
    assert "book.xlsx is an Excel workbook" in found["message"]
