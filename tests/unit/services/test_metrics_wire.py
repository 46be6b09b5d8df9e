"""CloudWatch over each protocol its clients know: newer ones JSON or CBOR, older ones query."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import botocore.session
import pytest
from boto_in_process import Cloud, cloud
from botocore.awsrequest import HeadersDict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from test_metrics_provider import Served

from preheat.kernel.http import HttpRequest

PROTOCOLS = ("smithy-rpc-v2-cbor", "json", "query")
MODEL = botocore.session.get_session().get_service_model("cloudwatch")
NOW = datetime.now(UTC).replace(second=0, microsecond=0)


class Spoken:
    """botocore's serializer and parser of one protocol around the dispatcher."""

    def __init__(self, process: Cloud, protocol: str, signed: bool) -> None:
        self._process = process
        self._protocol = protocol
        self._signed = signed

    def call(self, name: str, **params: Any) -> tuple[int, dict[str, Any]]:
        operation = MODEL.operation_model(name)
        made = create_serializer(self._protocol).serialize_to_request(params, operation)
        body = made["body"]
        if isinstance(body, dict):
            body = urlencode(body).encode()
        headers = {key: str(value) for key, value in made["headers"].items()}
        if self._signed:
            headers["Authorization"] = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/monitoring/aws4_request"
        request = HttpRequest(made["method"], made["url_path"], "", list(headers.items()), bytes(body))
        dispatcher = self._process._dispatcher
        assert dispatcher is not None
        answer = self._process.run(lambda: dispatcher.handle(request))
        content = {"status_code": answer.status, "headers": HeadersDict(answer.headers), "body": answer.body}
        content["context"] = {"operation_name": name}
        return answer.status, create_parser(self._protocol).parse(content, operation.output_shape)


@pytest.fixture(scope="module")
def process() -> Iterator[Cloud]:
    with cloud() as made:
        yield made


@pytest.fixture
def served(process: Cloud, tmp_path: Path) -> Iterator[Served]:
    made = Served(process, None, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_answers_over_every_protocol(process: Cloud, served: Served, protocol: str, signed: bool) -> None:
    spoken = Spoken(process, protocol, signed)
    at = NOW - timedelta(minutes=5)
    datum = {"MetricName": "m", "Timestamp": at, "Value": 1.5, "Dimensions": [{"Name": "a", "Value": "ü&<"}]}
    assert spoken.call("PutMetricData", Namespace="Mine", MetricData=[datum, datum])[0] == 200
    _, listed = spoken.call("ListMetrics", Namespace="Mine")
    assert listed["Metrics"] == [{"Namespace": "Mine", "MetricName": "m", "Dimensions": datum["Dimensions"]}]
    window = {"StartTime": NOW - timedelta(minutes=10), "EndTime": NOW}
    asked = {"Namespace": "Mine", "MetricName": "m", "Dimensions": datum["Dimensions"]}
    _, found = spoken.call("GetMetricStatistics", **asked, **window, Period=60, ExtendedStatistics=["p50"])
    assert found["Datapoints"] == [{"Timestamp": at, "Unit": "None", "ExtendedStatistics": {"p50": 1.5}}]
    query = {"Id": "q", "MetricStat": {"Metric": asked, "Period": 60, "Stat": "Sum"}}
    _, data = spoken.call("GetMetricData", MetricDataQueries=[query], **window)
    (result,) = data["MetricDataResults"]
    assert (result["Timestamps"], result["Values"], result["StatusCode"]) == ([at], [3.0], "Complete")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_errors_have_the_same_code_over_every_protocol(process: Cloud, served: Served, protocol: str) -> None:
    spoken = Spoken(process, protocol, signed=True)
    status, found = spoken.call("PutMetricData", Namespace="AWS/x", MetricData=[{"MetricName": "m", "Value": 1.0}])
    assert (status, found["Error"]["Code"]) == (400, "InvalidParameterValue")
    assert found["Error"]["Message"] == "The value AWS/ for parameter Namespace is invalid."
    status, found = spoken.call("DescribeAlarms")
    assert (status, found["Error"]["Code"]) == (501, "NotImplementedException")
    status, found = spoken.call("ListMetrics", MetricName="x" * 300)
    assert (status, found["Error"]["Code"]) == (400, "ValidationError")


def test_a_body_that_is_no_cbor_or_gzip_is_refused(process: Cloud, served: Served) -> None:
    dispatcher = process._dispatcher
    assert dispatcher is not None
    for headers in ({}, {"Content-Encoding": "gzip"}):
        request = HttpRequest(
            "POST",
            "/service/GraniteServiceVersion20100801/operation/ListMetrics",
            "",
            [("smithy-protocol", "rpc-v2-cbor"), *headers.items()],
            b"\xffnonsense",
        )
        answer = process.run(lambda request=request: dispatcher.handle(request))
        assert answer.status == 400
        assert b"SerializationException" in answer.body
