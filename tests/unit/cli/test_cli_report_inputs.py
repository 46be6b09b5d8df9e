"""`preheat report` on files of any kind, and with a function's log fetched from a service."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.handlers import BUILTIN_HANDLERS
from click.testing import CliRunner

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


class Service:
    """CloudWatch Logs as botocore's HTTP layer sees it: `answers` are taken in turn as (status, document), and
    then every page holds up to a hundred of the `events` asked for."""

    def __init__(self, events: list[dict[str, Any]], answers: list[tuple[int, dict[str, Any]]] | None = None) -> None:
        self.events = events
        self.answers = answers or []
        self.asked: list[dict[str, Any]] = []
        self.urls: list[str] = []

    def __call__(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        asked = json.loads(request.body)
        self.asked.append(asked)
        self.urls.append(request.url)
        status, document = self.answers.pop(0) if self.answers else (200, self.page(asked))
        headers = {"content-type": "application/x-amz-json-1.1"}
        return AWSResponse(request.url, status, headers, Body(json.dumps(document).encode()))

    def page(self, asked: dict[str, Any]) -> dict[str, Any]:
        inside = [event for event in self.events if asked["startTime"] <= event["timestamp"] <= asked["endTime"]]
        first = int(asked.get("nextToken", 0))
        following = {"nextToken": str(first + 100)} if first + 100 < len(inside) else {}
        return {"events": inside[first : first + 100], "searchedLogStreams": [], **following}


class Body(io.BytesIO):
    """What urllib3 gives: bytes to be streamed."""

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.read()


@pytest.fixture
def on_aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[Service], Service]]:
    """Puts a service in the place of AWS's HTTP, as moto does: everything of botocore above it is real."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)  # retries back off up to 20 s
    kept = list(BUILTIN_HANDLERS)

    def put(service: Service) -> Service:
        BUILTIN_HANDLERS.append(("before-send.cloudwatch-logs.FilterLogEvents", service))
        return service

    yield put
    BUILTIN_HANDLERS[:] = kept


def events_of(run: AwsRun) -> list[dict[str, Any]]:
    return [
        {"timestamp": round(at * 1000), "message": message, "logStreamName": stream, "ingestionTime": 1}
        for at, message, stream in run.events()
    ]


@pytest.fixture
def folder(run: AwsRun, tmp_path: Path) -> Path:
    """A run on AWS, whose answers bear the gateway's ids."""
    home = tmp_path / "run"
    home.mkdir()
    (home / "requests.csv").write_text(run.requests_csv(ids=False))
    (home / "run.json").write_text('{"target": "aws", "function": "iris"}')
    return home


def report(*arguments: str) -> Any:
    return CliRunner().invoke(command, [*arguments, "--quiet", "--json"])


def test_a_functions_log_is_fetched_for_the_runs_time(run: AwsRun, folder: Path, on_aws: Any) -> None:
    late = {"timestamp": round((run.sent[-1].end_s + 3600) * 1000), "message": "REPORT late", "logStreamName": "x"}
    service = on_aws(Service([*events_of(run), late]))
    summary = summary_of(str(folder), "--logs", "iris", "--region", "eu-west-1")
    assert (summary["label_method"], summary["cold"]) == ("log-join", run.truth.count("cold"))
    assert len(service.asked) == len(run.events()) // 100 + 1 > 1
    assert {asked["logGroupName"] for asked in service.asked} == {"/aws/lambda/iris"}
    assert service.urls[0] == "https://logs.eu-west-1.amazonaws.com/"
    first, last = (round(at * 1000) for at in (run.sent[0].start_s, max(item.end_s for item in run.sent)))
    assert service.asked[0]["startTime"] == pytest.approx(first - 120_000, abs=2)
    assert service.asked[0]["endTime"] == pytest.approx(last + 120_000, abs=2)
    kept = (folder / "lambda_logs" / "iris.jsonl").read_text().splitlines()
    assert len(kept) == len(run.events())


def test_throttling_and_empty_pages_are_waited_out(run: AwsRun, folder: Path, on_aws: Any) -> None:
    throttled = (400, {"__type": "ThrottlingException", "message": "Rate exceeded"})
    empty = (200, {"events": [], "nextToken": "0", "searchedLogStreams": []})
    service = on_aws(Service(events_of(run), [throttled, throttled, throttled, (503, {}), empty]))
    summary = summary_of(str(folder), "--logs", "iris")
    assert summary["cold"] == run.truth.count("cold")
    assert len(service.asked) == 5 + len(run.events()) // 100 + 1


def test_local_times_are_searched_in_every_time_zone(run: AwsRun, tmp_path: Path, on_aws: Any) -> None:
    (tmp_path / "locust.log").write_text(run.locust_log(zone_h=8.0))
    service = on_aws(Service(events_of(run)))
    summary = summary_of(str(tmp_path / "locust.log"), "--logs", "iris", "--target", "aws")
    assert summary["log"]["clock"]["time_zone"] == "UTC+08:00"
    assert service.asked[0]["endTime"] - service.asked[0]["startTime"] > 29 * 3600_000


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            {"__type": "ResourceNotFoundException", "message": "The specified log group does not exist."},
            "there is no log group /aws/lambda/nothing in us-east-1: check the name, or run the function once",
        ),
        (
            {"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"},
            "FilterLogEvents: ExpiredTokenException: The security token included in the request is expired",
        ),
        (
            {"__type": "AccessDeniedException", "message": "User: x is not authorized"},
            "FilterLogEvents: AccessDeniedException: User: x is not authorized",
        ),
    ],
)
def test_what_the_service_refuses_is_one_line(folder: Path, on_aws: Any, answer: dict[str, Any], said: str) -> None:
    on_aws(Service([], [(400, answer)]))
    result = report(str(folder), "--logs", "nothing")
    assert (result.exit_code, result.stderr) == (254, f"preheat report: {said}\n")
    assert not list((folder / "lambda_logs").iterdir())


def test_a_group_without_events_of_the_time_is_no_log(run: AwsRun, folder: Path, on_aws: Any) -> None:
    on_aws(Service([]))
    result = report(str(folder), "--logs", "iris")
    assert result.exit_code == 254
    assert re.fullmatch(
        r"preheat report: /aws/lambda/iris has no events between 2025-11-22 \S+ UTC and 2025-11-22 \S+ UTC: "
        r"is it the function of this run\?\n",
        result.stderr,
    )


@pytest.mark.parametrize(
    ("absent", "present", "said"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), {}, "Unable to locate credentials"),
        (("AWS_DEFAULT_REGION",), {}, "no region: give --region or set AWS_REGION"),
        ((), {"AWS_ENDPOINT_URL": "http://127.0.0.1:4566"}, "--target aws is refused while AWS_ENDPOINT_URL points"),
        ((), {"AWS_PROFILE": "nobody"}, "The config profile (nobody) could not be found"),
    ],
)
def test_what_is_not_configured_is_one_line(
    folder: Path, on_aws: Any, monkeypatch: pytest.MonkeyPatch, absent: Any, present: dict[str, str], said: str
) -> None:
    service = on_aws(Service([]))
    for name in absent:
        monkeypatch.delenv(name)
    for name, value in present.items():
        monkeypatch.setenv(name, value)
    result = report(str(folder), "--logs", "iris", "--target", "aws")
    assert result.exit_code in (252, 253)
    assert result.stderr.startswith(f"preheat report: {said}")
    assert result.stderr.count("\n") == 1
    assert service.asked == []


def test_nobody_at_the_local_address_is_one_line(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = report(str(folder), "--logs", "iris", "--target", "local", "--endpoint-url", address)
    assert (result.exit_code, result.stderr) == (
        253,
        f"preheat report: nothing answers at {address}: run `preheat up` first\n",
    )
