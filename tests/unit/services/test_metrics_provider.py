"""CloudWatch through botocore's own client: metrics put, listed and read, math, pages, errors, embedded metrics."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from boto_in_process import Cloud, cloud
from botocore.exceptions import ClientError

from preheat.execution.journal import Journal
from preheat.kernel.errors import AwsError
from preheat.services.logs.store import LogStore
from preheat.services.metrics.provider import MetricsProvider

NOW = datetime.now(UTC).replace(second=0, microsecond=0)


class NoFunctions:
    def resolve(self, identifier: str, qualifier: str | None = None) -> Any:
        raise AwsError("ResourceNotFoundException", f"Function not found: {identifier}", 404)


class Served:
    def __init__(self, process: Cloud, client: Any, directory: Path) -> None:
        self.logs = LogStore(directory)
        self.journal = Journal(directory / "journal")
        self.provider = MetricsProvider(directory / "metrics.db", self.journal, NoFunctions(), self.logs.files)
        process.serve({"cloudwatch": self.provider})
        self.client = client

    def close(self) -> None:
        self.provider.close()
        self.journal.close()
        self.logs.close()

    def put(self, *values: float, minute: int = 0, name: str = "m", **facts: Any) -> None:
        at = NOW - timedelta(minutes=10 - minute)
        data = [{"MetricName": name, "Timestamp": at, "Value": value, **facts} for value in values]
        self.client.put_metric_data(Namespace="Mine", MetricData=data)

    def statistics(self, name: str = "m", period: int = 60, **facts: Any) -> list[dict[str, Any]]:
        given = {"Statistics": ["Sum"], "Dimensions": [], **facts}
        asked = {key: value for key, value in given.items() if value}
        start, end = NOW - timedelta(minutes=10), NOW
        found = self.client.get_metric_statistics(
            Namespace="Mine", MetricName=name, StartTime=start, EndTime=end, Period=period, **asked
        )
        return found["Datapoints"]

    def data(self, *queries: dict[str, Any], **facts: Any) -> dict[str, Any]:
        start, end = NOW - timedelta(minutes=10), NOW
        return self.client.get_metric_data(
            MetricDataQueries=list(queries),
            **{"StartTime": start, "EndTime": end, "ScanBy": "TimestampAscending", **facts},
        )

    def computed(self, expression: str) -> list[float]:
        """Of an expression over a, with 1, 2 and 4 in minutes 0, 1 and 3, and b, with 2 in minutes 0 to 3."""
        for minute, value in ((0, 1), (1, 2), (3, 4)):
            self.put(value, minute=minute, name="a")
        for minute in range(4):
            self.put(2, minute=minute, name="b")
        shown = {"Id": "e", "Expression": expression}
        results = self.data(stat("a", "a", ReturnData=False), stat("b", "b", ReturnData=False), shown)
        return [value for result in results["MetricDataResults"] for value in result["Values"]]


def stat(query_id: str, name: str, what: str = "Sum", period: int = 60, **facts: Any) -> dict[str, Any]:
    metric = {"Namespace": "Mine", "MetricName": name}
    return {"Id": query_id, "MetricStat": {"Metric": metric, "Period": period, "Stat": what}, **facts}


@pytest.fixture(scope="module")
def process() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture(scope="module")
def client(process: Cloud) -> Any:
    return process.client("cloudwatch")


@pytest.fixture
def served(process: Cloud, client: Any, tmp_path: Path) -> Iterator[Served]:
    made = Served(process, client, tmp_path)
    yield made
    made.close()


def refused(call: Any, *arguments: Any, **facts: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **facts)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def test_what_is_put_is_read_back_by_period(served: Served) -> None:
    served.put(1, 2, 3, Unit="Count")
    served.put(10, minute=7, Unit="Count")
    every = ["SampleCount", "Average", "Sum", "Minimum", "Maximum"]
    first, second = served.statistics(period=300, Statistics=every)
    assert first == {
        "Timestamp": NOW - timedelta(minutes=10),
        "SampleCount": 3,
        "Average": 2,
        "Sum": 6,
        "Minimum": 1,
        "Maximum": 3,
        "Unit": "Count",
    }
    assert (second["Timestamp"], second["Sum"]) == (NOW - timedelta(minutes=5), 10)


def test_percentiles_values_with_counts_and_statistic_sets(served: Served) -> None:
    client = served.client
    at = NOW - timedelta(minutes=3)
    counted = {"MetricName": "m", "Timestamp": at, "Values": [1.0, 5.0], "Counts": [9.0, 1.0]}
    client.put_metric_data(Namespace="Mine", MetricData=[counted])
    (found,) = served.statistics(Statistics=[], ExtendedStatistics=["p90", "p91", "tm90"])
    assert found["ExtendedStatistics"] == {"p90": 1, "p91": 5, "tm90": 1}
    kept = {"SampleCount": 4, "Sum": 10, "Minimum": 1, "Maximum": 5}
    client.put_metric_data(Namespace="Mine", MetricData=[{"MetricName": "m", "Timestamp": at, "StatisticValues": kept}])
    (found,) = served.statistics(Statistics=["Sum", "SampleCount"])
    assert (found["Sum"], found["SampleCount"]) == (24, 14)
    # Both at once are taken, against the reference (localstack's test_put_metric_data_validation on AWS).
    both = {"MetricName": "both", "Values": [1.0], "StatisticValues": kept}
    client.put_metric_data(Namespace="Mine", MetricData=[both])


def test_units_are_never_mixed_and_seconds_are_kept_on_request(served: Served) -> None:
    served.put(1, Unit="Seconds")
    served.put(2, Unit="Milliseconds")
    assert {one["Unit"]: one["Sum"] for one in served.statistics()} == {"Seconds": 1, "Milliseconds": 2}
    assert [one["Sum"] for one in served.statistics(Unit="Seconds")] == [1]
    at = NOW - timedelta(minutes=2)
    for second in (1, 2, 11):
        datum = {"MetricName": "fine", "Timestamp": at + timedelta(seconds=second), "Value": 1, "StorageResolution": 1}
        served.client.put_metric_data(Namespace="Mine", MetricData=[datum])
    assert [one["Sum"] for one in served.statistics("fine", period=10)] == [2, 1]


def test_one_of_several_units_is_taken_and_the_others_are_named(served: Served) -> None:
    """As recorded on AWS (LocalStack's test_get_metric_data_different_units_no_unit_in_query)."""
    served.put(60, Unit="Seconds")
    served.put(60_000, 60_000, Unit="Milliseconds")
    (result,) = served.data(stat("m1", "m"))["MetricDataResults"]
    assert result["Values"] == [120_000]
    message = {"Code": "MultipleUnits", "Value": "Multiple units returned: '[Milliseconds, Seconds]'"}
    assert result["Messages"] == [message]
    with_unit = stat("m1", "m")
    with_unit["MetricStat"]["Unit"] = "Seconds"
    (result,) = served.data(with_unit)["MetricDataResults"]
    assert (result["Values"], "Messages" in result) == ([60], False)


@pytest.mark.parametrize(
    ("queries", "labels"),
    [
        ([("Sum", 60), ("Minimum", 300)], ["m Sum 60", "m Minimum 300"]),
        ([("Sum", 60), ("Minimum", 60)], ["m Sum", "m Minimum"]),
        ([("Sum", 60), ("Sum", 300)], ["m 60", "m 300"]),
        ([("Sum", 60), ("Sum", 60)], ["m", "m"]),
    ],
)
def test_labels_as_recorded_on_aws(served: Served, queries: list[tuple[str, int]], labels: list[str]) -> None:
    """LocalStack's test_label_generation; metrics of several names have only those (test_aws_sqs_metrics_created)."""
    asked = [stat(f"q{number}", "m", what, period) for number, (what, period) in enumerate(queries)]
    assert [result["Label"] for result in served.data(*asked)["MetricDataResults"]] == labels
    other = served.data(*asked, stat("n", "n"))["MetricDataResults"]
    assert [result["Label"] for result in other] == ["m", "m", "n"]


def test_a_large_request_comes_compressed(served: Served) -> None:
    dimensions = [{"Name": f"d{number}", "Value": "v" * 600} for number in range(25)]
    served.put(1, Dimensions=dimensions)
    assert [one["Sum"] for one in served.statistics(Dimensions=dimensions)] == [1]


def test_metrics_are_listed_once_each_and_filtered(served: Served) -> None:
    one, other = {"Name": "A", "Value": "1"}, {"Name": "B", "Value": "2"}
    served.put(1, Dimensions=[one, other])
    served.put(1, Dimensions=[other, one], Unit="Count")
    served.put(1, name="n")

    def names(**facts: Any) -> list[tuple[str, int]]:
        found = served.client.list_metrics(**facts)["Metrics"]
        return [(metric["MetricName"], len(metric["Dimensions"])) for metric in found]

    assert names() == [("m", 2), ("n", 0)]
    assert names(Dimensions=[{"Name": "A"}]) == names(Dimensions=[one]) == [("m", 2)]
    assert names(Dimensions=[{"Name": "A", "Value": "2"}]) == names(Namespace="None") == []
    assert names(MetricName="n", RecentlyActive="PT3H") == [("n", 0)]


def test_pages_of_metrics_and_of_data(served: Served) -> None:
    served.client.put_metric_data(
        Namespace="Mine", MetricData=[{"MetricName": f"m{number}", "Value": 1} for number in range(700)]
    )
    pages = served.client.get_paginator("list_metrics").paginate(Namespace="Mine")
    assert [len(page["Metrics"]) for page in pages] == [500, 200]
    for minute in range(6):
        served.put(minute, minute=minute)
    query = {"MetricDataQueries": [stat("q", "m")], "StartTime": NOW - timedelta(minutes=10), "EndTime": NOW}
    pages = list(served.client.get_paginator("get_metric_data").paginate(**query, MaxDatapoints=4))
    results = [page["MetricDataResults"][0] for page in pages]
    assert [(result["StatusCode"], result["Values"]) for result in results] == [
        ("PartialData", [5, 4, 3, 2]),
        ("Complete", [1, 0]),
    ]


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("a / b", [0.5, 1, 2]),
        ("100 * (a + b) - 2 ^ 2 ^ 1", [296, 396, 596]),
        ("-a", [-1, -2, -4]),
        ("a / (a - 1)", [2, 4 / 3]),
        ("a > 1 AND b == 2", [0, 1, 1]),
        ("IF(a > 1, a, 0)", [0, 2, 4]),
        ("IF(a > 1, a)", [2, 4]),
        ("FILL(a, 0)", [1, 2, 0, 4, 0, 0, 0, 0, 0, 0]),
        ("FILL(a, REPEAT)", [1, 2, 2, 4, 4, 4, 4, 4, 4, 4]),
        ("FILL(a, LINEAR)", [1, 2, 3, 4]),
        ("a * SUM(b)", [8, 16, 32]),
        ("SUM([a, b])", [3, 4, 2, 6]),
        ("SUM(METRICS())", [3, 4, 2, 6]),
        ('MAX(METRICS("a")) * b', [2, 4, 8]),
        ("RUNNING_SUM(a)", [1, 3, 7]),
        ("DIFF(a)", [1, 2]),
        ("RATE(a) * 60", [1, 1]),
        ("ABS(a - 3) + PERIOD(a)", [62, 61, 61]),
        ("AVG(a) + MIN(b) + DATAPOINT_COUNT(a) + STDDEV(b) + 0 * a", [7 / 3 + 5] * 3),
        ("METRICS()", [1, 2, 4, 2, 2, 2, 2]),
    ],
)
def test_metric_math(served: Served, expression: str, values: list[float]) -> None:
    assert served.computed(expression) == pytest.approx(values)


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("a +", "unexpected 'the end'"),
        ("a b", "unexpected 'b'"),
        ("c", "unknown id c"),
        ("e", "depends on itself"),
        ("SUM(a)", "is a number"),
        ("FOO(a)", "unknown function FOO"),
        ("SUM(a, b)", "wrong arguments for SUM"),
        ("a ? 1", "unexpected '?'"),
        ("(" * 300 + "a" + ")" * 300, "nested too deeply"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(served: Served, expression: str, part: str) -> None:
    code, message = refused(served.computed, expression)
    assert code == "ValidationError"
    assert part in message


def test_expressions_lead_on_to_expressions_but_not_without_end(served: Served) -> None:
    served.put(1)
    chain = [
        {"Id": f"e{number}", "Expression": f"e{number + 1} + 1", "ReturnData": number == 0} for number in range(100)
    ]
    queries = [*chain[:20], stat("e20", "m", ReturnData=False)]
    assert served.data(*queries)["MetricDataResults"][0]["Values"] == [21]
    code, message = refused(served.data, *chain, stat("e100", "m", ReturnData=False))
    assert (code, "nested too deeply" in message) == ("ValidationError", True)
    queries = [stat("m", "m", period=60, ReturnData=False), {"Id": "e", "Expression": "FILL(m, 0)", "Period": 60}]
    assert refused(served.data, *queries, StartTime=NOW - timedelta(days=400))[0] == "InvalidParameterCombination"


def test_what_is_not_built_is_said(served: Served) -> None:
    for expression in ("SEARCH('x', 'Sum', 300)", 'SELECT SUM(x) FROM "AWS/Lambda"'):
        code, message = refused(served.data, {"Id": "e", "Expression": expression})
        assert (code, "not built" in message) == ("NotImplementedException", True)
    code, message = refused(served.client.describe_alarms)
    assert (code, "DescribeAlarms" in message) == ("NotImplementedException", True)


def test_wrong_requests_are_refused_in_cloudwatchs_codes(served: Served) -> None:
    client = served.client

    def put(**datum: Any) -> str:
        return refused(client.put_metric_data, Namespace="Mine", MetricData=[{"MetricName": "m", **datum}])[0]

    assert put() == "MissingParameter"
    assert put(Value=1, Values=[1]) == "InvalidParameterCombination"
    assert put(Values=[1, 2], Counts=[1]) == "InvalidParameterValue"
    assert put(Value=float("nan")) == "InvalidParameterValue"
    assert put(Value=1, Timestamp=NOW - timedelta(days=15)) == "InvalidParameterValue"
    assert put(Value=1, Timestamp=NOW + timedelta(hours=3)) == "InvalidParameterValue"
    aws = refused(client.put_metric_data, Namespace="AWS/Lambda", MetricData=[{"MetricName": "m", "Value": 1}])
    assert aws == ("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.")
    assert refused(served.statistics, Statistics=[])[0] == "MissingParameter"
    assert refused(served.statistics, ExtendedStatistics=["p1"])[0] == "InvalidParameterCombination"
    assert refused(served.statistics, period=61)[0] == "InvalidParameterValue"
    assert refused(served.statistics, Statistics=["Median"])[0] == "ValidationError"
    many = {"StartTime": NOW - timedelta(days=2), "EndTime": NOW, "Period": 60, "Statistics": ["Sum"]}
    code, message = refused(client.get_metric_statistics, Namespace="Mine", MetricName="m", **many)
    assert (code, "up to 2880 datapoints, which exceeds the limit of 1440." in message) == (
        "InvalidParameterCombination",
        True,
    )
    whole_day = {**many, "StartTime": NOW - timedelta(days=1, microseconds=-1)}  # 1,440 periods, begun within a minute
    assert client.get_metric_statistics(Namespace="None", MetricName="m", **whole_day)["Datapoints"] == []
    assert refused(served.data, stat("q", "m"), EndTime=NOW - timedelta(hours=1))[0] == "InvalidParameterValue"
    assert refused(served.data, stat("q", "m"), stat("q", "m"))[0] == "ValidationError"
    assert refused(served.data, stat("Q", "m"))[0] == "ValidationError"
    assert refused(served.data, stat("q", "m", ReturnData=False))[0] == "ValidationError"
    assert refused(served.data, {"Id": "q"})[0] == "ValidationError"
    assert refused(served.data, stat("q", "m"), NextToken="cGFnZSB4")[0] == "InvalidNextToken"
    assert refused(client.list_metrics, NextToken="/")[0] == "InvalidNextToken"


def test_embedded_metrics_are_read_from_the_logs_once(served: Served) -> None:
    at_ms = int((NOW - timedelta(minutes=4)).timestamp() * 1000)
    directive = {
        "Namespace": "Shop",
        "Dimensions": [["service"], ["service", "place"], []],
        "Metrics": [{"Name": "Orders", "Unit": "Count"}, {"Name": "Latency", "Unit": "Blinks", "StorageResolution": 1}],
    }
    line = {
        "_aws": {"Timestamp": at_ms, "CloudWatchMetrics": [directive]},
        "service": "pay",
        "place": "x",
        "Orders": [1, 2],
        "Latency": 3.5,
    }
    broken = {
        "_aws": {"CloudWatchMetrics": [{"Namespace": "Shop", "Metrics": [{"Name": "Orders"}], "Dimensions": [["y"]]}]}
    }
    served.logs.create_stream("/aws/lambda/f", "s")
    served.logs.create_stream("/aws/lambda/f", "empty")
    events = [(at_ms, json.dumps(one)) for one in (line, broken, "CloudWatchMetrics")]
    served.logs.put("/aws/lambda/f", "s", events)

    def orders(*dimensions: tuple[str, str]) -> list[float]:
        shown = [{"Name": name, "Value": value} for name, value in dimensions]
        window = {"StartTime": NOW - timedelta(minutes=10), "EndTime": NOW, "Period": 60, "Statistics": ["Sum"]}
        found = served.client.get_metric_statistics(Namespace="Shop", MetricName="Orders", Dimensions=shown, **window)
        return [point["Sum"] for point in found["Datapoints"]]

    assert orders(("service", "pay")) == orders(("service", "pay"), ("place", "x")) == orders() == [3]
    served.logs.put("/aws/lambda/f", "s", events)
    assert orders() == orders() == [6]
    assert len(served.client.list_metrics(Namespace="Shop")["Metrics"]) == 6
    latency = stat("q", "Latency", "Maximum")
    latency["MetricStat"]["Metric"]["Namespace"] = "Shop"
    assert served.data(latency)["MetricDataResults"][0]["Values"] == [3.5]
