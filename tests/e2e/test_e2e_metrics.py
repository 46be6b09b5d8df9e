"""A function under load, then its metrics and Logs Insights by boto3 and the aws CLI: the journal's own counts."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from e2e_cloud import Cloud, eventually

SOURCE = """
import json, time

print("importing")


def lambda_handler(event, context):
    if event.get("emf"):
        metrics = [{"Namespace": "Shop", "Dimensions": [["service"]], "Metrics": [{"Name": "Orders", "Unit": "Count"}]}]
        aws = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": metrics}
        print(json.dumps({"_aws": aws, "service": "pay", "Orders": event["emf"], "cold_start": True}))
    time.sleep(event.get("sleep", 0))
    if event.get("raise"):
        raise ValueError("wanted")
    return "fine"
"""
GROUP = "/aws/lambda/shop"
MEMORY_MB = 256


@pytest.fixture(scope="module")
def loaded(cloud: Cloud) -> Cloud:
    """Cold, warm, failed, throttled and aliased requests, all in the journal."""
    cloud.create_function("shop", SOURCE, MemorySize=MEMORY_MB, Timeout=10)
    client = cloud.client("lambda")

    def invoke(payload: dict[str, Any], **options: Any) -> None:
        client.invoke(FunctionName="shop", Payload=json.dumps(payload), **options)

    with ThreadPoolExecutor(4) as callers:
        list(callers.map(invoke, [{"sleep": 0.3}] * 4))
    for number in range(12):
        invoke({"raise": number % 4 == 0, "emf": number + 1 if number % 4 == 1 else 0})
    version = client.publish_version(FunctionName="shop")["Version"]
    client.get_waiter("published_version_active").wait(FunctionName="shop", Qualifier=version)
    client.create_alias(FunctionName="shop", Name="live", FunctionVersion=version)
    for qualifier in ("live", "live", version):
        invoke({}, Qualifier=qualifier)
    client.put_function_concurrency(FunctionName="shop", ReservedConcurrentExecutions=0)
    for _ in range(3):
        with pytest.raises(client.exceptions.TooManyRequestsException):
            invoke({})
    client.delete_function_concurrency(FunctionName="shop")
    eventually(lambda: len(cloud.records("invocation", "shop")) == 19)
    return cloud


def window() -> dict[str, Any]:
    now = datetime.now(UTC)
    return {"StartTime": now - timedelta(hours=1), "EndTime": now + timedelta(minutes=1)}


def total(cloud: Cloud, name: str, what: str = "Sum", **dimensions: str) -> float:
    """One statistic of a Lambda metric over the last hour."""
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    asked = {"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": named, "Period": 7200}
    if what.startswith("p"):
        found = cloud.client("cloudwatch").get_metric_statistics(**asked, **window(), ExtendedStatistics=[what])
        return float(found["Datapoints"][0]["ExtendedStatistics"][what])
    found = cloud.client("cloudwatch").get_metric_statistics(**asked, **window(), Statistics=[what])
    return float(sum(point[what] for point in found["Datapoints"]))


def test_lambda_metrics_are_the_journals_counts(loaded: Cloud) -> None:
    records, throttles = loaded.records("invocation", "shop"), loaded.records("throttle", "shop")
    failed = [record for record in records if record["status"] != "ok"]
    assert (len(records), len(failed), len(throttles)) == (19, 3, 3)
    for dimensions in ({"FunctionName": "shop"}, {}):
        assert total(loaded, "Invocations", **dimensions) == len(records)
        assert total(loaded, "Errors", **dimensions) == len(failed)
        assert total(loaded, "Throttles", **dimensions) == len(throttles)
    durations = sorted(record["duration_ms"] for record in records)
    assert total(loaded, "Duration", FunctionName="shop") == pytest.approx(sum(durations))
    assert total(loaded, "Duration", "Maximum", FunctionName="shop") == durations[-1]
    assert total(loaded, "Duration", "Minimum", FunctionName="shop") == durations[0]
    assert total(loaded, "Duration", "p50", FunctionName="shop") == pytest.approx(durations[9], rel=1e-3)
    assert total(loaded, "ConcurrentExecutions", "Maximum", FunctionName="shop") == most_at_once(records)
    assert total(loaded, "UnreservedConcurrentExecutions", "Maximum") == most_at_once(records)


def most_at_once(records: list[dict[str, Any]]) -> int:
    """By the server's own monotonic clock."""
    moves = [(record["received_ns"], 1) for record in records] + [(record["finished_ns"], -1) for record in records]
    level = most = 0
    for _, move in sorted(moves):
        level += move
        most = max(most, level)
    return most


def test_an_alias_and_the_version_behind_it_are_dimensions(loaded: Cloud) -> None:
    by_resource = {"FunctionName": "shop", "Resource": "shop:live"}
    assert total(loaded, "Invocations", **by_resource) == 2
    assert total(loaded, "Invocations", **by_resource, ExecutedVersion="1") == 2
    assert total(loaded, "Invocations", FunctionName="shop", Resource="shop:1") == 1
    assert total(loaded, "Invocations", FunctionName="shop", Resource="shop") == 16


def test_the_aws_cli_reads_metrics_and_their_math(loaded: Cloud) -> None:
    listed = loaded.aws("cloudwatch", "list-metrics", "--namespace", "AWS/Lambda", "--metric-name", "Invocations")
    assert {"Namespace": "AWS/Lambda", "MetricName": "Invocations", "Dimensions": []} in listed["Metrics"]
    dimensions = [{"Name": "FunctionName", "Value": "shop"}]

    def stat(query_id: str, name: str) -> dict[str, Any]:
        metric = {"Namespace": "AWS/Lambda", "MetricName": name, "Dimensions": dimensions}
        return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": 7200, "Stat": "Sum"}, "ReturnData": False}

    rate = {"Id": "rate", "Expression": "100 * errors / invocations", "Label": "Error rate"}
    queries = json.dumps([stat("errors", "Errors"), stat("invocations", "Invocations"), rate])
    between = {key: value.isoformat() for key, value in window().items()}
    span = ("--start-time", between["StartTime"], "--end-time", between["EndTime"])
    data = loaded.aws("cloudwatch", "get-metric-data", "--metric-data-queries", queries, *span)
    (result,) = data["MetricDataResults"]
    assert (result["Label"], result["StatusCode"]) == ("Error rate", "Complete")
    assert result["Values"] == [pytest.approx(100 * 3 / 19)]
    refused = loaded.aws_raw("cloudwatch", "describe-alarms")
    assert refused.returncode != 0
    assert "DescribeAlarms is not built" in refused.stderr


def test_metrics_that_handlers_print_and_clients_put(loaded: Cloud) -> None:
    client = loaded.client("cloudwatch")
    service = [{"Name": "service", "Value": "pay"}]
    found = client.get_metric_statistics(
        Namespace="Shop",
        MetricName="Orders",
        Dimensions=service,
        Period=7200,
        Statistics=["Sum", "SampleCount"],
        **window(),
    )
    assert [(point["Sum"], point["SampleCount"], point["Unit"]) for point in found["Datapoints"]] == [(18, 3, "Count")]
    loaded.aws("cloudwatch", "put-metric-data", "--namespace", "Mine", "--metric-name", "m", "--value", "2.5")
    (metric,) = client.list_metrics(Namespace="Mine")["Metrics"]
    assert metric["MetricName"] == "m"


def ask(cloud: Cloud, query: str) -> list[dict[str, str]]:
    client, now_s = cloud.client("logs"), int(time.time())
    started = client.start_query(logGroupName=GROUP, startTime=now_s - 3600, endTime=now_s + 1, queryString=query)

    def done() -> Any:
        found = client.get_query_results(queryId=started["queryId"])
        return found if found["status"] == "Complete" else None

    return [{cell["field"]: cell["value"] for cell in row} for row in eventually(done)["results"]]


def test_cold_starts_by_logs_insights_are_the_journals(loaded: Cloud) -> None:
    records = loaded.records("invocation", "shop")
    cold = [record for record in records if record["init_ms"] is not None]
    assert len(cold) >= 4
    query = 'filter @type="REPORT" | stats sum(strcontains(@message,"Init Duration"))/count(*)*100 as coldStartPct, '
    (row,) = ask(loaded, query + "avg(@duration), max(@initDuration), max(@memorySize/1000/1000), count(*)")
    assert float(row["coldStartPct"]) == pytest.approx(100 * len(cold) / len(records), abs=1e-4)
    assert float(row["max(@initDuration)"]) == pytest.approx(max(record["init_ms"] for record in cold), abs=0.006)
    average = sum(record["duration_ms"] for record in records) / len(records)
    assert float(row["avg(@duration)"]) == pytest.approx(average, abs=1e-3)
    assert (row["max(@memorySize/1000/1000)"], row["count(*)"]) == (str(MEMORY_MB), str(len(records)))
    by_time = ask(loaded, query + "count(*) as requests by bin(5m)")
    assert sum(int(row["requests"]) for row in by_time) == len(records)


def test_requests_and_errors_are_found_by_their_ids(loaded: Cloud) -> None:
    records = loaded.records("invocation", "shop")
    ids = ask(loaded, 'filter @type = "REPORT" | fields @requestId, @duration | sort @duration desc')
    assert Counter(row["@requestId"] for row in ids) == Counter(record["request_id"] for record in records)
    slowest = max(records, key=lambda record: record["duration_ms"])
    assert ids[0]["@requestId"] == slowest["request_id"]
    errors = ask(
        loaded,
        "filter @message like /ValueError/ | parse @message '[ERROR] *: *' as kind, what | stats count(*) by kind",
    )
    assert errors == [{"kind": "ValueError", "count(*)": "3"}]
    assert ask(loaded, "filter cold_start = 1 | stats sum(Orders) by service") == [
        {"service": "pay", "sum(Orders)": "18"}
    ]


def test_the_aws_cli_queries_logs(loaded: Cloud) -> None:
    now_s = int(time.time())
    span = ("--start-time", str(now_s - 3600), "--end-time", str(now_s + 1))
    query = "fields @timestamp, @message | filter @type = 'END' | limit 2"
    query_id = loaded.aws("logs", "start-query", "--log-group-name", GROUP, *span, "--query-string", query)["queryId"]

    def done() -> Any:
        found = loaded.aws("logs", "get-query-results", "--query-id", query_id)
        return found if found["status"] == "Complete" else None

    results = eventually(done)["results"]
    assert [[cell["field"] for cell in row] for row in results] == [["@timestamp", "@message", "@ptr"]] * 2
    record = loaded.aws("logs", "get-log-record", "--log-record-pointer", results[0][2]["value"])["logRecord"]
    assert (record["@type"], record["@log"]) == ("END", f"000000000000:{GROUP}")
    listed = loaded.aws("logs", "describe-queries", "--log-group-name", GROUP)["queries"]
    assert query_id in [one["queryId"] for one in listed]
    refused = loaded.aws_raw(
        "logs", "start-query", "--log-group-name", GROUP, *span, "--query-string", "fields @x | cuont(*)"
    )
    assert refused.returncode != 0
    assert "MalformedQueryException" in refused.stderr
    assert "line 1 and position 12" in refused.stderr
    export = ("--task-name", "t", "--log-group-name", GROUP, "--from", "0", "--to", "1", "--destination", "bucket")
    refused = loaded.aws_raw("logs", "create-export-task", *export)
    assert refused.returncode != 0
    assert "CreateExportTask is not built" in refused.stderr


@pytest.fixture
def own_cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = Cloud(tmp_path / "data").start()
    yield made
    made.end()


def test_metrics_survive_a_killed_server_and_count_nothing_twice(own_cloud: Cloud) -> None:
    own_cloud.create_function("shop", SOURCE)

    def invoke() -> None:
        own_cloud.client("lambda").invoke(FunctionName="shop", Payload=b"{}")

    invoke()
    eventually(lambda: len(own_cloud.records("invocation")) == 1)
    assert total(own_cloud, "Invocations") == 1
    invoke()
    eventually(lambda: len(own_cloud.records("invocation")) == 2)
    own_cloud.end(signal.SIGKILL)
    own_cloud.start()
    assert total(own_cloud, "Invocations") == 2
    invoke()
    eventually(lambda: len(own_cloud.records("invocation")) == 3)
    assert total(own_cloud, "Invocations") == total(own_cloud, "Invocations") == 3
