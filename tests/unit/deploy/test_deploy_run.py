"""A whole deployment against botocore's Stubber, which holds every call to AWS's own service models."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from preheat.deploy import deployment, functions, run, target, trial
from preheat.deploy.deployment import Deployment, Plan
from preheat.kernel.errors import PreheatError

ARN = "arn:aws:lambda:us-east-1:000000000000:function:demo"
ROLE = "arn:aws:iam::000000000000:role/LabRole"
REPORT = "REPORT RequestId: 1-a\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 512 MB\t\n"
EVENTS = [
    {"logStreamName": "s", "timestamp": 5, "message": "START RequestId: 1-a Version: $LATEST\n"},
    {"logStreamName": "s", "timestamp": 6, "message": "hello\n"},
    {"logStreamName": "s", "timestamp": 7, "message": "END RequestId: 1-a\n"},
    {"logStreamName": "s", "timestamp": 8, "message": REPORT},
]


class Gateway(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"path": self.path, "got": json.loads(body)}).encode()
        self.send_response(200)
        self.send_header("x-amzn-RequestId", "gateway-id")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: Any) -> None:
        """Quiet: pytest shows what matters."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = tmp_path / "project"
    project.mkdir()
    (project / "lambda_function.py").write_text("def lambda_handler(event, context): ...\n", "utf-8")
    (project / "sample.json").write_text('{\n"values": [[1.5]]\n}', "utf-8")
    return project


class Cloud:
    """Stubbed clients and the calls they expect, in order; leaving checks that every one was made."""

    def __init__(self, stack: ExitStack, where: target.Target) -> None:
        self.clients = target.connect(where)
        self.stubs = {
            name: stack.enter_context(Stubber(getattr(self.clients, name)))
            for name in ("lambda_", "apigateway", "logs", "iam", "sts")
        }

    def expect(self, service: str, operation: str, params: dict[str, Any], result: dict[str, Any]) -> None:
        self.stubs[service].add_response(operation, result, params)

    def refuse(self, service: str, operation: str, code: str) -> None:
        self.stubs[service].add_client_error(operation, code, "no")

    def done(self) -> None:
        for stub in self.stubs.values():
            stub.assert_no_pending_responses()


@pytest.fixture
def cloud(endpoint: str) -> Iterator[Cloud]:
    with ExitStack() as stack:
        yield Cloud(stack, target.choose("local", endpoint_url=endpoint, environ={}))


CONFIGURATION = {
    "FunctionName": "demo",
    "Runtime": "python3.11",
    "Handler": "lambda_function.lambda_handler",
    "Role": ROLE,
    "MemorySize": 512,
    "Timeout": 30,
    "Environment": {"Variables": {"MODE": "x"}},
}
NAME = {"FunctionName": "demo"}
READY = {"FunctionArn": ARN, "State": "Active", "LastUpdateStatus": "Successful", "Version": "$LATEST"}


def expect_function(cloud: Cloud, code: dict[str, Any], *, update: bool) -> None:
    cloud.expect("iam", "get_role", {"RoleName": "LabRole"}, {"Role": role()})
    if update:
        cloud.expect("lambda_", "get_function_configuration", NAME, {**READY, "PackageType": "Zip"})
        cloud.expect("lambda_", "get_function", NAME, {"Configuration": READY})
        cloud.expect("lambda_", "update_function_configuration", CONFIGURATION, READY)
        cloud.expect("lambda_", "get_function", NAME, {"Configuration": READY})
        cloud.expect("lambda_", "update_function_code", {**NAME, **code}, READY)
    else:
        cloud.refuse("lambda_", "get_function_configuration", "ResourceNotFoundException")
        cloud.expect("lambda_", "create_function", {**CONFIGURATION, "Code": code, "PackageType": "Zip"}, READY)
    cloud.expect("lambda_", "get_function", NAME, {"Configuration": READY})
    cloud.expect("lambda_", "get_function_configuration", NAME, READY)


def role() -> dict[str, Any]:
    return {"Path": "/", "RoleName": "LabRole", "RoleId": "A" * 16, "Arn": ROLE, "CreateDate": 0}


def expect_api(cloud: Cloud, *, reuse: bool) -> None:
    apis = [{"id": "other", "name": "x"}, *([{"id": "api1", "name": "demo-api"}] if reuse else [])]
    cloud.expect("apigateway", "get_rest_apis", {}, {"items": apis})
    resources = [{"id": "root", "path": "/"}, *([{"id": "res1", "path": "/demo"}] if reuse else [])]
    if not reuse:
        made = {"name": "demo-api", "description": ANY, "endpointConfiguration": {"types": ["REGIONAL"]}}
        cloud.expect("apigateway", "create_rest_api", made, {"id": "api1"})
    cloud.expect("apigateway", "get_resources", {"restApiId": "api1"}, {"items": resources})
    if not reuse:
        made = {"restApiId": "api1", "parentId": "root", "pathPart": "demo"}
        cloud.expect("apigateway", "create_resource", made, {"id": "res1"})
    method = {"restApiId": "api1", "resourceId": "res1", "httpMethod": "ANY"}
    if reuse:
        cloud.refuse("apigateway", "put_method", "ConflictException")
        cloud.refuse("lambda_", "add_permission", "ResourceConflictException")
    else:
        cloud.expect("apigateway", "put_method", {**method, "authorizationType": "NONE"}, {})
        source = "arn:aws:execute-api:us-east-1:000000000000:api1/*/*/demo"
        permission = {"StatementId": "apigateway-api1", "Action": "lambda:InvokeFunction", "SourceArn": source}
        cloud.expect("lambda_", "add_permission", {**NAME, **permission, "Principal": "apigateway.amazonaws.com"}, {})
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{ARN}/invocations"
    proxy = {**method, "type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": uri}
    cloud.expect("apigateway", "put_integration", proxy, {})
    cloud.expect("apigateway", "create_deployment", {"restApiId": "api1", "stageName": "default"}, {"id": "d"})


@pytest.mark.parametrize("again", [False, True])
def test_a_project_becomes_a_function_behind_an_api(
    cloud: Cloud, project: Path, endpoint: str, tmp_path: Path, again: bool
) -> None:
    data_dir = tmp_path / ".preheat"
    build_dir = (data_dir / "build" / "functions" / "demo").resolve()
    expect_function(cloud, {"S3Bucket": "hot-reload", "S3Key": str(build_dir)}, update=again)
    expect_api(cloud, reuse=again)
    cloud.refuse("lambda_", "get_alias", "ResourceNotFoundException")  # no earlier deployment with a version
    logs = {"logGroupName": "/aws/lambda/demo", "startTime": ANY}
    cloud.refuse("logs", "filter_log_events", "ResourceNotFoundException")  # the group is not there yet
    cloud.expect("logs", "filter_log_events", logs, {"events": EVENTS[:3]})  # nor the REPORT
    cloud.expect("logs", "filter_log_events", logs, {"events": EVENTS})
    where = target.choose("local", endpoint_url=endpoint, environ={})
    plan = Plan(project, "demo", environment={"MODE": "x"})
    record = run.deploy(plan, where, cloud.clients, data_dir, [].append)
    cloud.done()
    check_record(record, endpoint)
    assert deployment.find(data_dir, "demo") == deployment.find(data_dir, None) == record
    assert deployment.find(data_dir, "other") is None


def test_an_image_is_made_once_the_role_is_known_and_replaces_a_zip(
    cloud: Cloud, project: Path, endpoint: str, tmp_path: Path
) -> None:
    uri = "127.0.0.1:1/demo:latest"
    configuration = {key: value for key, value in CONFIGURATION.items() if key not in ("Runtime", "Handler")}
    cloud.expect("iam", "get_role", {"RoleName": "LabRole"}, {"Role": role()})
    cloud.expect("lambda_", "get_function_configuration", NAME, {**READY, "PackageType": "Zip"})
    cloud.expect("lambda_", "delete_function", NAME, {})
    made = {**configuration, "Code": {"ImageUri": uri}, "PackageType": "Image"}
    cloud.expect("lambda_", "create_function", made, READY)
    cloud.expect("lambda_", "get_function", NAME, {"Configuration": READY})
    cloud.expect("lambda_", "get_function_configuration", NAME, READY)
    expect_api(cloud, reuse=False)
    cloud.refuse("lambda_", "get_alias", "ResourceNotFoundException")
    logs = {"logGroupName": "/aws/lambda/demo", "startTime": ANY}
    cloud.expect("logs", "filter_log_events", logs, {"events": EVENTS})
    where = target.choose("local", endpoint_url=endpoint, environ={})
    plan = Plan(project, "demo", environment={"MODE": "x"}, image=True)
    said: list[str] = []
    record = run.deploy(plan, where, cloud.clients, tmp_path / ".preheat", said.append, lambda: uri)
    cloud.done()
    assert (record.image_uri, record.runtime, record.handler, record.build_dir) == (uri, "", "", "")
    assert "function demo: its PackageType Zip cannot change, so it is deleted and made anew" in said


def test_on_aws_a_function_is_never_deleted_to_change_its_package(project: Path) -> None:
    aws = target.choose("aws", region="eu-west-1", environ={})
    with ExitStack() as stack:
        cloud = Cloud(stack, target.choose("local", endpoint_url="http://127.0.0.1:1", environ={}))
        cloud.expect("lambda_", "get_function_configuration", NAME, {**READY, "PackageType": "Zip"})
        with pytest.raises(PreheatError, match="PackageType Zip, which cannot change") as caught:
            functions.put(cloud.clients, aws, Plan(project, "demo", image=True), ROLE, {"ImageUri": "x"}, [].append)
        assert caught.value.exit_code == 252


def check_record(record: Deployment, endpoint: str) -> None:
    assert record.host == f"{endpoint}/_aws/execute-api/api1"
    assert record.url == f"{record.host}/default/demo"
    assert record.endpoint_url == endpoint
    assert (record.function_arn, record.api_id, record.version) == (ARN, "api1", "$LATEST")
    assert (record.qualifier, record.snap_start, record.provisioned) == (None, False, 0)
    assert record.sample.request["body"] == '{"values": [[1.5]]}'
    answer = json.loads(record.sample.response["body"])
    assert answer == {"path": "/_aws/execute-api/api1/default/demo", "got": {"values": [[1.5]]}}
    assert record.sample.response["status"] == 200
    assert record.sample.response["headers"]["x-amzn-RequestId"] == "gateway-id"
    assert [event["message"] for event in record.sample.log_events] == [event["message"] for event in EVENTS]
    assert record.url in record.curl
    assert record.url in record.invoke_web_request


def test_aws_gets_a_zip_and_its_own_host_name(project: Path) -> None:
    aws = target.choose("aws", region="eu-west-1", environ={})
    code = functions.code_argument(aws, str(project))
    assert set(code) == {"ZipFile"}
    from preheat.deploy.gateway import host

    assert host(aws, "api1") == "https://api1.execute-api.eu-west-1.amazonaws.com"
    assert host(target.choose("aws", region="cn-north-1", environ={}), "api1").endswith(".amazonaws.com.cn")


def test_a_fresh_start_changes_the_description_and_waits(cloud: Cloud) -> None:
    cloud.expect("lambda_", "update_function_configuration", {**NAME, "Description": "why"}, READY)
    cloud.expect("lambda_", "get_function", NAME, {"Configuration": READY})
    functions.start_fresh(cloud.clients, "demo", "why")
    cloud.done()


@pytest.mark.parametrize("name", ["", "a b", "ä", "../x", "x" * 65])
def test_a_bad_function_name_is_a_usage_error(cloud: Cloud, project: Path, name: str) -> None:
    where = target.choose("local", environ={})
    with pytest.raises(PreheatError, match="--name") as caught:
        run.deploy(Plan(project, name), where, cloud.clients, project / ".preheat", [].append)
    assert caught.value.exit_code == 252


def test_only_the_last_finished_invocation_is_shown() -> None:
    def event(stream: str, message: str) -> dict[str, Any]:
        return {"stream": stream, "message": message, "timestamp": 0}

    one = [event("a", "START RequestId: 1 Version: 1"), event("a", "REPORT RequestId: 1\t")]
    forged = [event("b", "START RequestId: 2 Version: 1"), event("b", "REPORT RequestId: 9\t"), event("b", "x")]
    assert trial.last_invocation([]) == []
    assert trial.last_invocation([event("a", "INIT_START x"), *one]) == one
    assert trial.last_invocation([one[0], *forged, one[1]]) == one
    ending = event("b", "REPORT RequestId: 2\t")
    assert trial.last_invocation([*one, *forged, ending]) == [*forged, ending]


def test_a_sample_is_one_line_of_json(tmp_path: Path) -> None:
    assert trial.sample_body(tmp_path) == "{}"
    (tmp_path / "sample.json").write_text("{", "utf-8")
    with pytest.raises(PreheatError, match="not JSON"):
        trial.sample_body(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 99}', '{"schema": 1, "sample": {}}'])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, "utf-8")
    with pytest.raises(PreheatError, match=r"x\.json"):
        deployment.load(path)
