"""boto3 as a program uses it (waiters, paginators, exceptions), and the API's HTTP answers."""

from __future__ import annotations

import base64
import itertools
import json
import socket
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from e2e_cloud import HANDLER, ROLE, Cloud, ask, eventually, zipped

NAME = "light"


@pytest.fixture(scope="module")
def url(cloud: Cloud) -> str:
    """Of the deployed API, without a stage's path."""
    return cloud.host(cloud.create_api(NAME, cloud.create_function(NAME)))


def test_waiters_follow_a_function_from_creation_to_deletion(cloud: Cloud) -> None:
    client = cloud.client("lambda")
    code = {"ZipFile": zipped(HANDLER)}
    facts = {"Runtime": "python3.11", "Role": ROLE, "Handler": "lambda_function.lambda_handler"}
    created = client.create_function(FunctionName="waited", Code=code, **facts)
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    for waiter in ("function_exists", "function_active", "function_active_v2"):
        client.get_waiter(waiter).wait(FunctionName="waited")
    with pytest.raises(client.exceptions.ResourceConflictException, match="Function already exist: waited"):
        client.create_function(FunctionName="waited", Code=code, **facts)
    client.update_function_configuration(FunctionName="waited", MemorySize=1024)
    for waiter in ("function_updated", "function_updated_v2"):
        client.get_waiter(waiter).wait(FunctionName="waited")
    assert client.get_function(FunctionName="waited")["Configuration"]["LastUpdateStatus"] == "Successful"
    client.delete_function(FunctionName="waited")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName="waited")
    with pytest.raises(client.exceptions.ResourceNotFoundException) as missing:
        client.invoke(FunctionName="waited")
    arn = "arn:aws:lambda:us-east-1:000000000000:function:waited:$LATEST"
    assert missing.value.response["Error"]["Message"] == f"Function not found: {arn}"


def test_paginators_reach_the_end(cloud: Cloud, url: str) -> None:
    names = {f"page-{number}" for number in range(5)}
    for name in names:
        cloud.create_function(name)
    pages = list(cloud.client("lambda").get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2}))
    assert len(pages) >= 3
    listed = [function["FunctionName"] for page in pages for function in page["Functions"]]
    assert names <= set(listed)
    assert len(listed) == len(set(listed))

    for number in range(3):
        ask(f"{url}/default/{NAME}", json.dumps({"say": f"line {number}"}).encode())
    logs = cloud.client("logs")
    group = f"/aws/lambda/{NAME}"
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group, filterPattern="said", PaginationConfig={"PageSize": 1}
    )
    said = [event["message"] for page in pages for event in page["events"]]
    assert [f"said line {number}\n" for number in range(3)] == [one for one in said if "line" in one]
    streams = logs.get_paginator("describe_log_streams").paginate(logGroupName=group).build_full_result()["logStreams"]
    assert len(streams) == len(cloud.records("environment_started", NAME))


def test_invoke_answers_as_documented(cloud: Cloud, url: str) -> None:
    client = cloud.client("lambda")
    answer = client.invoke(FunctionName=NAME, Payload=b'{"say": "x"}', LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert b"said x\n" in base64.b64decode(answer["LogResult"])
    assert client.invoke(FunctionName=NAME, InvocationType="DryRun")["StatusCode"] == 204
    failed = client.invoke(FunctionName=NAME, Payload=b'{"raise": "boom"}')
    assert (failed["StatusCode"], failed["FunctionError"]) == (200, "Unhandled")
    error = json.loads(failed["Payload"].read())
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "boom")
    assert error["requestId"] == failed["ResponseMetadata"]["RequestId"]
    with pytest.raises(
        client.exceptions.InvalidRequestContentException, match="Could not parse request body into json"
    ):
        client.invoke(FunctionName=NAME, Payload=b"{")


def test_a_timeout_is_an_answer_and_the_next_request_works(cloud: Cloud) -> None:
    cloud.create_function("slow", Timeout=1)
    client = cloud.client("lambda")
    error = json.loads(client.invoke(FunctionName="slow", Payload=b'{"sleep": 9}')["Payload"].read())
    assert error["errorType"] == "Sandbox.Timedout"
    assert error["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert client.invoke(FunctionName="slow").get("FunctionError") is None


def test_an_operation_that_is_not_built_is_501_naming_it(cloud: Cloud) -> None:
    with pytest.raises(ClientError) as refused:
        cloud.client("lambda").list_capacity_providers()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "ListCapacityProviders" in refused.value.response["Error"]["Message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/default/{NAME}"),
        ("PUT", f"/default/{NAME}"),
        ("POST", "/default"),
        ("POST", "/default/"),
        ("POST", f"/default/{NAME}/more"),
        ("POST", "/default/other"),
    ],
)
def test_an_unknown_path_or_method_is_403(url: str, method: str, path: str) -> None:
    answer = ask(url + path, b"{}" if method == "POST" else None, method)
    assert (answer.status, answer.body) == (403, b'{"message":"Missing Authentication Token"}')
    assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"


@pytest.mark.parametrize("path", ["/default/%2e%2e/%2e%2e/etc/passwd", "/default/%00", "/default//etc/passwd"])
def test_a_path_never_leads_to_a_file(url: str, path: str) -> None:
    answer = ask(url + path, b"{}")
    assert answer.status in (400, 403)
    assert b"root:" not in answer.body


def test_a_handler_that_raises_is_502_at_the_gateway(url: str) -> None:
    answer = ask(f"{url}/default/{NAME}", b'{"raise": "boom"}')
    assert (answer.status, answer.json()) == (502, {"message": "Internal server error"})


def test_the_response_names_the_request_that_the_journal_records(cloud: Cloud, url: str) -> None:
    answer = ask(f"{url}/default/{NAME}", b"{}")
    assert answer.status == 200
    assert {"x-amzn-requestid", "x-amz-apigw-id", "x-amzn-trace-id"} <= set(answer.headers)
    (record,) = [
        one
        for one in cloud.records("invocation", NAME)
        if one["gateway_request_id"] == answer.headers["x-amzn-requestid"]
    ]
    events = cloud.client("logs").filter_log_events(
        logGroupName=record["log_group"], filterPattern=f'"REPORT RequestId: {record["request_id"]}"'
    )["events"]
    (event,) = events
    assert ("Init Duration" in event["message"]) == record["cold"]


def test_a_forged_report_fools_nobody(cloud: Cloud) -> None:
    line = "REPORT RequestId: 1 Duration: 1.00 ms Init Duration: 99999.00 ms"
    cloud.create_function("forger", f"def lambda_handler(event, context): print('{line}')\n")
    client = cloud.client("lambda")
    for _ in range(2):
        tail = base64.b64decode(client.invoke(FunctionName="forger", LogType="Tail")["LogResult"]).decode()
        assert line in tail
    first, second = cloud.records("invocation", "forger")
    assert (first["cold"], second["cold"], second["init_ms"]) == (True, False, None)
    assert first["init_ms"] < 99999


def test_a_client_that_leaves_costs_nothing(cloud: Cloud, url: str) -> None:
    before = len(cloud.records("invocation", NAME))
    parts = urlsplit(f"{url}/default/{NAME}")
    body = b'{"sleep": 0.5, "say": "left alone"}'
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 80)) as client:
        client.sendall(head.encode() + body)
        eventually(lambda: serving(cloud) == 1)
    eventually(lambda: len(cloud.records("invocation", NAME)) == before + 1)
    assert cloud.records("invocation", NAME)[-1]["status"] == "ok"
    found = cloud.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{NAME}", filterPattern='"left alone"')
    assert len(found["events"]) == 1
    assert serving(cloud) == 0
    assert ask(f"{url}/default/{NAME}", b"{}").status == 200


def serving(cloud: Cloud) -> int:
    count: int = ask(f"{cloud.url}/_preheat/status").json()["functions"][NAME]["serving"]
    return count


def test_requests_one_after_the_other_share_an_environment(url: str) -> None:
    counts = [json.loads(ask(f"{url}/default/{NAME}", b"{}").body)["count"] for _ in range(3)]
    assert [after - before for before, after in itertools.pairwise(counts)] == [1, 1]
