"""`preheat report` on files of any kind, and with a function's log fetched from a service."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from preheat.cli import fetch_logs
from preheat.cli.report import command

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))

from synthetic_aws import AwsRun, make_aws_run


@pytest.fixture(scope="module")
def run() -> AwsRun:
    return make_aws_run(users=12, run_time_s=15)


def summary_of(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(command, [*arguments, "--json", "--quiet"])
    assert result.exit_code == 0, result.output
    loaded: dict[str, Any] = json.loads(result.stdout)
    return loaded


def test_a_log_and_an_export_are_read_together(run: AwsRun, tmp_path: Path) -> None:
    log, export = tmp_path / "test_locust_logs.txt", tmp_path / "logs-insights-results.csv"
    log.write_bytes(run.locust_log().replace("\n", "\r\n").encode())
    export.write_text(run.insights_csv())
    summary = summary_of(str(log), str(export))
    assert (summary["label_method"], summary["cold"]) == ("log-join", run.truth.count("cold"))
    home = tmp_path / "preheat-report"
    assert {"report.html", "summary.json", "sources.json", "performance_analysis.ipynb"} <= {
        path.name for path in home.iterdir()
    }
    again = summary_of(str(home))
    assert again["cold"] == summary["cold"]
    assert summary_of(str(log), "--out", str(tmp_path / "other"))["label_method"] == "latency-model"
    assert (tmp_path / "other" / "report.html").is_file()


class Pages:
    """The paginator of a CloudWatch Logs client that holds `events`."""

    def __init__(self, events: list[dict[str, Any]], error: Exception | None = None) -> None:
        self.events, self.error, self.asked = events, error, {}

    def get_paginator(self, name: str) -> Pages:
        assert name == "filter_log_events"
        return self

    def paginate(self, **asked: Any) -> Any:
        self.asked = asked
        if self.error is not None:
            raise self.error
        inside = [event for event in self.events if asked["startTime"] <= event["timestamp"] <= asked["endTime"]]
        return [{"events": inside[:100]}, {"events": inside[100:]}]


def events_of(run: AwsRun) -> list[dict[str, Any]]:
    return [
        {"timestamp": round(at * 1000), "message": message, "logStreamName": stream, "ingestionTime": 1}
        for at, message, stream in run.events()
    ]


def test_a_functions_log_is_fetched_for_the_runs_time(
    run: AwsRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requests.csv").write_text(run.requests_csv(ids=False))
    (tmp_path / "run.json").write_text('{"target": "aws", "function": "iris"}')
    client = Pages(events_of(run))
    targets: list[Any] = []
    monkeypatch.setattr(fetch_logs, "_client", lambda *given: targets.append(given) or client)
    summary = summary_of(str(tmp_path), "--logs", "iris", "--region", "eu-west-1")
    assert (summary["label_method"], summary["cold"]) == ("log-join", run.truth.count("cold"))
    assert targets == [("aws", None, "eu-west-1", None)]
    assert client.asked["logGroupName"] == "/aws/lambda/iris"
    assert (tmp_path / "lambda_logs" / "iris.jsonl").is_file()


def test_what_the_service_refuses_is_one_line(run: AwsRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "requests.csv").write_text(run.requests_csv())
    missing = {"Error": {"Code": "ResourceNotFoundException", "Message": "The specified log group does not exist."}}
    client = Pages([], ClientError(missing, "FilterLogEvents"))
    monkeypatch.setattr(fetch_logs, "_client", lambda *_: client)
    result = CliRunner().invoke(command, [str(tmp_path), "--logs", "nothing", "--quiet"])
    assert result.exit_code == 254
    assert result.stderr.strip().endswith("/aws/lambda/nothing: The specified log group does not exist.")
