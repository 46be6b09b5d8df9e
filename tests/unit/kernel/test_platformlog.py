import json
from typing import Any

import pytest

from preheat.kernel.platformlog import JsonLog, Report, TextLog

NOW = 1_700_000_000_123
RUNTIME = ("python:3.11.v1", "arn:aws:lambda:us-east-1::runtime:0")


def report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "request_id": "id", "duration_ms": 3.01, "billed_ms": 114, "memory_mb": 128, "max_memory_mb": 36,
        "init_ms": 110.1, "restore": None, "status": "", "error_type": None,
    }  # fmt: skip
    return Report(**(values | changes))


def test_a_report_as_real_aws_writes_it() -> None:
    event = json.loads(JsonLog("iris", "$LATEST").report(report(), NOW))
    assert event == {
        "time": "2023-11-14T22:13:20.123Z",
        "type": "platform.report",
        "record": {
            "requestId": "id",
            "metrics": {
                "durationMs": 3.01,
                "billedDurationMs": 114,
                "memorySizeMB": 128,
                "maxMemoryUsedMB": 36,
                "initDurationMs": 110.1,
            },
            "status": "success",
        },
    }


def test_failures_carry_status_and_type() -> None:
    lost = report(init_ms=None, status="error", error_type="Runtime.OutOfMemory")
    record = json.loads(JsonLog("iris", "1").report(lost, NOW))["record"]
    assert (record["status"], record["errorType"]) == ("error", "Runtime.OutOfMemory")
    assert "initDurationMs" not in record["metrics"]


@pytest.mark.parametrize(
    ("level", "kinds"),
    [
        ("DEBUG", ["initStart", "start", "runtimeDone", "report"]),
        ("INFO", ["initStart", "start", "report"]),
        ("WARN", []),
    ],
)
def test_the_system_log_level_filters(level: str, kinds: list[str]) -> None:
    log = JsonLog("iris", "$LATEST", level)
    lines = [
        log.init_start(RUNTIME, "on-demand", NOW),
        log.start("id", "$LATEST", NOW),
        log.end("id", "", None, 3.0, NOW),
        log.report(report(), NOW),
    ]
    assert [json.loads(line)["type"] for line in lines if line] == [f"platform.{kind}" for kind in kinds]


def test_warnings_pass_every_level() -> None:
    log = JsonLog("iris", "$LATEST", "WARN")
    assert json.loads(log.end("id", "timeout", None, 3.0, NOW))["record"]["status"] == "timeout"
    assert json.loads(log.init_failed(9999.8, "init", "timeout", None, NOW))["type"] == "platform.initReport"


def test_text_is_the_lines_of_the_fidelity_sheet() -> None:
    log = TextLog()
    assert log.end("id", "", None, 3.0, NOW) == "END RequestId: id\n"
    assert log.report(report(), NOW).endswith("\tInit Duration: 110.10 ms\t\n")
    assert log.lost("id", "Runtime exited with error: signal: killed", "Runtime.ExitError", NOW) == (
        "RequestId: id Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"
    )
