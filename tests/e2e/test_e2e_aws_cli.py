"""The assignment's work by hand: the real aws CLI and curl, nothing but host names replaced."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_cloud import HANDLER, ROLE, Cloud, clean_environment, integration_uri, zipped

NAME = "iris"


@dataclass(frozen=True)
class Made:
    arn: str
    api: str
    zip_file: str


@pytest.fixture(scope="module")
def made(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A function, and an API in front of it, as a person makes them at a prompt."""
    archive = tmp_path_factory.mktemp("zip") / "function.zip"
    archive.write_bytes(zipped(HANDLER))
    zip_file = f"fileb://{archive}"
    code = ("--runtime", "python3.11", "--handler", "lambda_function.lambda_handler", "--zip-file", zip_file)
    role = cloud.aws("iam", "get-role", "--role-name", "LabRole")["Role"]["Arn"]
    function = cloud.aws("lambda", "create-function", "--function-name", NAME, "--role", role, *code)
    assert (function["Role"], function["Version"], function["MemorySize"], function["Timeout"]) == (
        ROLE,
        "$LATEST",
        128,
        3,
    )
    cloud.aws("lambda", "wait", "function-active-v2", "--function-name", NAME)
    return Made(function["FunctionArn"], make_api(cloud, function["FunctionArn"]), zip_file)


def make_api(cloud: Cloud, arn: str) -> str:
    api: str = cloud.aws("apigateway", "create-rest-api", "--name", "iris-api")["id"]
    at = ("--rest-api-id", api)
    (root,) = cloud.aws("apigateway", "get-resources", *at)["items"]
    assert root["path"] == "/"
    resource = cloud.aws("apigateway", "create-resource", *at, "--parent-id", root["id"], "--path-part", NAME)
    assert resource["path"] == f"/{NAME}"
    method = (*at, "--resource-id", resource["id"], "--http-method", "POST")
    cloud.aws("apigateway", "put-method", *method, "--authorization-type", "NONE")
    proxy = ("--type", "AWS_PROXY", "--integration-http-method", "POST", "--uri", integration_uri(arn))
    cloud.aws("apigateway", "put-integration", *method, *proxy)
    source = f"arn:aws:execute-api:us-east-1:000000000000:{api}/*/POST/{NAME}"
    permission = ("--statement-id", "gateway", "--principal", "apigateway.amazonaws.com", "--source-arn", source)
    added = cloud.aws(
        "lambda", "add-permission", "--function-name", NAME, "--action", "lambda:InvokeFunction", *permission
    )
    assert json.loads(added["Statement"])["Condition"] == {"ArnLike": {"AWS:SourceArn": source}}
    deployment = cloud.aws("apigateway", "create-deployment", *at, "--stage-name", "default")
    (stage,) = cloud.aws("apigateway", "get-stages", *at)["item"]
    assert (stage["stageName"], stage["deploymentId"]) == ("default", deployment["id"])
    return api


def test_who_am_i(cloud: Cloud) -> None:
    assert cloud.aws("sts", "get-caller-identity")["Account"] == "000000000000"


def test_curl_as_the_assignment_prints_it(cloud: Cloud, made: Made) -> None:
    """https://<api id>.execute-api.<region>.amazonaws.com becomes http://<api id>.execute-api.localhost:<port>."""
    port = cloud.url.rpartition(":")[2]
    url = f"http://{made.api}.execute-api.localhost:{port}/default/{NAME}"
    line = 'curl --header "Content-Type: application/json" --request POST '
    line += '--data "{\\"values\\": [[5.1, 3.5, 1.4, 0.2]]}" ' + url
    done = subprocess.run(line, shell=True, env=clean_environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["values"] == [[5.1, 3.5, 1.4, 0.2]]


def test_invoke_prints_the_payload_and_the_tail_of_the_log(cloud: Cloud, made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    payload = '{"values": [[1, 2, 3, 4]], "say": "hello"}'
    answer = cloud.aws(
        "lambda", "invoke", "--function-name", NAME, "--log-type", "Tail", "--payload", payload, str(out)
    )
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert "FunctionError" not in answer
    assert json.loads(json.loads(out.read_text())["body"])["values"] == [[1, 2, 3, 4]]
    log = base64.b64decode(answer["LogResult"]).decode()
    first, said, last, report = log.splitlines()
    identity = re.fullmatch(r"START RequestId: ([0-9a-f-]{36}) Version: \$LATEST", first)
    assert identity is not None
    assert said == "said hello"
    assert last == f"END RequestId: {identity[1]}"
    assert re.fullmatch(
        rf"REPORT RequestId: {identity[1]}\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t"
        r"Max Memory Used: \d+ MB\t(Init Duration: \d+\.\d\d ms\t)?",
        report,
    )


def test_a_handler_that_raises_gives_the_documented_payload(cloud: Cloud, made: Made, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    answer = cloud.aws("lambda", "invoke", "--function-name", NAME, "--payload", '{"raise": "boom"}', str(out))
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    error = json.loads(out.read_text())
    assert (error["errorType"], error["errorMessage"]) == ("ValueError", "boom")
    assert sorted(error) == ["errorMessage", "errorType", "requestId", "stackTrace"]


def test_the_log_is_in_cloudwatch_logs(cloud: Cloud, made: Made) -> None:
    group = ("--log-group-name", f"/aws/lambda/{NAME}")
    names = [one["logGroupName"] for one in cloud.aws("logs", "describe-log-groups")["logGroups"]]
    assert f"/aws/lambda/{NAME}" in names
    newest = ("--order-by", "LastEventTime", "--descending")
    stream = cloud.aws("logs", "describe-log-streams", *group, *newest)["logStreams"][0]["logStreamName"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    head = ("--log-stream-name", stream, "--start-from-head")
    events = cloud.aws("logs", "get-log-events", *group, *head)["events"]
    assert events[0]["message"].startswith("INIT_START Runtime Version: python:3.11")
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    reports = cloud.aws("logs", "filter-log-events", *group, "--filter-pattern", "REPORT")["events"]
    starts = cloud.aws("logs", "filter-log-events", *group, "--filter-pattern", '"START RequestId"')["events"]
    assert len(reports) == len(starts) == len(cloud.records("invocation", NAME))


def test_an_update_is_what_the_next_invoke_runs(cloud: Cloud, made: Made, tmp_path: Path) -> None:
    name = ("--function-name", "changing")
    code = ("--runtime", "python3.11", "--handler", "lambda_function.lambda_handler", "--zip-file", made.zip_file)
    cloud.aws("lambda", "create-function", *name, "--role", ROLE, *code)
    cloud.aws("lambda", "wait", "function-active-v2", *name)
    listed = cloud.aws("lambda", "list-functions")["Functions"]
    assert {one["FunctionName"] for one in listed} >= {NAME, "changing"}

    other = tmp_path / "other.zip"
    other.write_bytes(
        zipped("import os\ndef lambda_handler(event, context): return os.environ.get('MODEL', 'new code')")
    )
    before = cloud.aws("lambda", "get-function-configuration", *name)
    updated = cloud.aws("lambda", "update-function-code", *name, "--zip-file", f"fileb://{other}")
    assert updated["CodeSha256"] != before["CodeSha256"]
    cloud.aws("lambda", "wait", "function-updated-v2", *name)
    assert invoked(cloud, "changing", tmp_path) == "new code"

    settings = ("--memory-size", "256", "--timeout", "7", "--environment", "Variables={MODEL=iris}")
    changed = cloud.aws("lambda", "update-function-configuration", *name, *settings)
    assert (changed["MemorySize"], changed["Timeout"]) == (256, 7)
    cloud.aws("lambda", "wait", "function-updated-v2", *name)
    assert invoked(cloud, "changing", tmp_path) == "iris"

    cloud.aws("lambda", "delete-function", *name)
    gone = cloud.aws_raw("lambda", "get-function", *name)
    assert gone.returncode == 255
    assert "(ResourceNotFoundException) when calling the GetFunction operation: Function not found: arn" in gone.stderr
    assert "changing" not in [one["FunctionName"] for one in cloud.aws("lambda", "list-functions")["Functions"]]


def invoked(cloud: Cloud, name: str, directory: Path) -> object:
    out = directory / "invoked.json"
    cloud.aws("lambda", "invoke", "--function-name", name, str(out))
    return json.loads(out.read_text())


def test_an_operation_that_is_not_built_says_so_and_names_itself(cloud: Cloud) -> None:
    done = cloud.aws_raw("lambda", "list-capacity-providers")
    assert done.returncode == 255
    assert "ListCapacityProviders" in done.stderr.replace("when calling the ListCapacityProviders operation", "", 1)
