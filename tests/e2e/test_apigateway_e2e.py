"""API Gateway through boto3, the aws CLI and real HTTP clients, against a real `preheat up`."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError
from e2e_cloud import HANDLER, Answer, Cloud, ask, eventually, integration_uri

EVENT_HANDLER = """
def lambda_handler(event, context):
    if event.get("type") == "TOKEN":
        token = event["authorizationToken"]
        if token == "broken":
            raise Exception("Unauthorized")
        effect = "Allow" if token == "good" else "Deny"
        statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
        return {"principalId": "me", "policyDocument": {"Statement": [statement]}, "context": {"tier": "gold"}}
    return event
"""


@pytest.fixture(scope="module")
def arns(cloud: Cloud) -> dict[str, str]:
    """Functions: `proxy` answers as a proxy, `mirror` returns its event and authorises the token "good"."""
    return {"proxy": cloud.create_function("proxy", HANDLER), "mirror": cloud.create_function("mirror", EVENT_HANDLER)}


class Api:
    """A REST API with POST /x, by boto3."""

    def __init__(self, cloud: Cloud, **integration: Any) -> None:
        self.cloud = cloud
        self.client = cloud.client("apigateway")
        self.id = self.client.create_rest_api(name="e2e")["id"]
        (root,) = self.client.get_resources(restApiId=self.id)["items"]
        resource = self.client.create_resource(restApiId=self.id, parentId=root["id"], pathPart="x")["id"]
        self.names = {"restApiId": self.id, "resourceId": resource, "httpMethod": "POST"}
        self.client.put_method(**self.names, authorizationType="NONE")
        self.client.put_integration(**self.names, integrationHttpMethod="POST", **integration)

    def patch(self, *changes: tuple[str, str]) -> None:
        operations = [{"op": "replace", "path": path, "value": value} for path, value in changes]
        self.client.update_method(**self.names, patchOperations=operations)

    def respond(self, status: str, **response: Any) -> None:
        self.client.put_method_response(**self.names, statusCode=status)
        self.client.put_integration_response(**self.names, statusCode=status, **response)

    def deploy(self) -> str:
        self.client.create_deployment(restApiId=self.id, stageName="prod")
        return f"{self.cloud.host(self.id)}/prod/x"


def send(url: str, body: Any = None, **headers: str) -> Answer:
    """POST with headers of one's own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        given = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        connection.request("POST", parts.path, json.dumps(body or {}), given)
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def test_the_two_shapes_of_the_assignment(cloud: Cloud, arns: dict[str, str]) -> None:
    proxy = Api(cloud, type="AWS_PROXY", uri=integration_uri(arns["proxy"]))
    answer = send(proxy.deploy(), {"values": [1, 2]})
    assert (answer.status, answer.json()["values"]) == (200, [1, 2])
    custom = Api(cloud, type="AWS", uri=integration_uri(arns["proxy"]))
    custom.respond("200")
    answer = send(custom.deploy(), {"values": [1, 2]})
    assert (answer.status, answer.json()["statusCode"]) == (200, 200)
    assert json.loads(answer.json()["body"])["values"] == [1, 2]


def test_templates_and_selection_patterns(cloud: Cloud, arns: dict[str, str]) -> None:
    template = '{"raise": "$input.path("$.problem")", "stage": "$context.stage"}'
    api = Api(cloud, type="AWS", uri=integration_uri(arns["proxy"]), requestTemplates={"application/json": template})
    api.respond("200")
    api.respond(
        "422",
        selectionPattern=".*cannot.*",
        responseTemplates={"application/json": '{"why": $input.json("$.errorMessage")}'},
    )
    answer = send(api.deploy(), {"problem": "I cannot"})
    assert (answer.status, answer.json()) == (422, {"why": "I cannot"})


def test_validation_keys_and_gateway_responses(cloud: Cloud, arns: dict[str, str]) -> None:
    api = Api(cloud, type="AWS_PROXY", uri=integration_uri(arns["proxy"]))
    schema = {"type": "object", "required": ["values"]}
    api.client.create_model(restApiId=api.id, name="In", contentType="application/json", schema=json.dumps(schema))
    validator = api.client.create_request_validator(restApiId=api.id, name="v", validateRequestBody=True)["id"]
    api.patch(
        ("/requestValidatorId", validator), ("/requestModels/application~1json", "In"), ("/apiKeyRequired", "true")
    )
    api.client.put_gateway_response(
        restApiId=api.id,
        responseType="DEFAULT_4XX",
        responseParameters={"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"},
    )
    url = api.deploy()
    key = api.client.create_api_key(name="k", enabled=True)
    plan = api.client.create_usage_plan(
        name="p", apiStages=[{"apiId": api.id, "stage": "prod"}], quota={"limit": 2, "period": "DAY"}
    )["id"]
    api.client.create_usage_plan_key(usagePlanId=plan, keyId=key["id"], keyType="API_KEY")
    refused = send(url, {"values": []})
    assert (refused.status, refused.json()) == (403, {"message": "Forbidden"})
    assert refused.headers["access-control-allow-origin"] == "*"
    assert send(url, {"values": [1]}, x_api_key=key["value"]).status == 200
    invalid = send(url, {"other": 1}, x_api_key=key["value"])
    assert (invalid.status, invalid.json()) == (400, {"message": "Invalid request body"})
    over = send(url, {"values": [1]}, x_api_key=key["value"])
    assert (over.status, over.json()) == (429, {"message": "Limit Exceeded"})


def test_a_lambda_authorizer(cloud: Cloud, arns: dict[str, str]) -> None:
    api = Api(cloud, type="AWS_PROXY", uri=integration_uri(arns["proxy"]))
    authorizer = api.client.create_authorizer(
        restApiId=api.id,
        name="a",
        type="TOKEN",
        authorizerUri=integration_uri(arns["mirror"]),
        identitySource="method.request.header.Authorization",
    )["id"]
    api.patch(("/authorizationType", "CUSTOM"), ("/authorizerId", authorizer))
    url = api.deploy()
    statuses = {token: send(url, {}, Authorization=token).status for token in ("good", "bad", "broken")}
    assert statuses == {"good": 200, "bad": 403, "broken": 401}
    assert send(url).status == 401


def test_access_logs_are_in_cloudwatch_logs(cloud: Cloud, arns: dict[str, str]) -> None:
    api = Api(cloud, type="AWS_PROXY", uri=integration_uri(arns["proxy"]))
    url = api.deploy()
    settings = {
        "/accessLogSettings/destinationArn": "arn:aws:logs:us-east-1:000000000000:log-group:access",
        "/accessLogSettings/format": "$context.requestId $context.httpMethod $context.status",
    }
    operations = [{"op": "replace", "path": path, "value": value} for path, value in settings.items()]
    api.client.update_stage(restApiId=api.id, stageName="prod", patchOperations=operations)
    answer = send(url)
    logs = cloud.client("logs")
    events = eventually(lambda: logs.filter_log_events(logGroupName="access")["events"])
    assert [event["message"] for event in events] == [f"{answer.headers['x-amzn-requestid']} POST 200"]


def test_import_by_the_aws_cli_and_test_invoke(cloud: Cloud, arns: dict[str, str]) -> None:
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": integration_uri(arns["proxy"])}
    operation = {"responses": {"200": {"description": "ok"}}, "x-amazon-apigateway-integration": integration}
    document = {"openapi": "3.0.1", "info": {"title": "imported"}, "paths": {"/y/{id}": {"post": operation}}}
    path = cloud.data_dir.parent / "openapi.json"
    path.write_text(json.dumps(document))
    api = cloud.aws("apigateway", "import-rest-api", "--body", f"fileb://{path}")["id"]
    cloud.aws("apigateway", "create-deployment", "--rest-api-id", api, "--stage-name", "prod")
    assert ask(f"{cloud.host(api)}/prod/y/1", b'{"values": 5}').json()["values"] == 5
    items = cloud.aws("apigateway", "get-resources", "--rest-api-id", api)["items"]
    resource = next(item["id"] for item in items if item["path"] == "/y/{id}")
    tested = cloud.client("apigateway").test_invoke_method(
        restApiId=api, resourceId=resource, httpMethod="POST", pathWithQueryString="/y/7", body='{"values": 6}'
    )
    assert (tested["status"], json.loads(tested["body"])["values"]) == (200, 6)


def test_what_is_not_built_says_so(cloud: Cloud) -> None:
    with pytest.raises(ClientError) as raised:
        cloud.client("apigateway").create_domain_name(domainName="a.example")
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
    assert "CreateDomainName" in raised.value.response["Error"]["Message"]


def test_an_http_api(cloud: Cloud, arns: dict[str, str]) -> None:
    client = cloud.client("apigatewayv2")
    api = client.create_api(Name="h", ProtocolType="HTTP", Target=arns["mirror"])
    assert client.get_api(ApiId=api["ApiId"])["CreatedDate"] == api["CreatedDate"]
    event = ask(f"{cloud.host(api['ApiId'])}/a/b?q=1", b"{}").json()
    assert (event["version"], event["rawPath"], event["requestContext"]["http"]["method"]) == ("2.0", "/a/b", "POST")
    integration = client.get_integrations(ApiId=api["ApiId"])["Items"][0]["IntegrationId"]
    client.create_route(ApiId=api["ApiId"], RouteKey="GET /pets/{id}", Target=f"integrations/{integration}")
    assert ask(f"{cloud.host(api['ApiId'])}/pets/5").json()["pathParameters"] == {"id": "5"}
    by_host = by_host_header(cloud, f"{api['ApiId']}.execute-api.localhost", "/pets/6")
    assert json.loads(by_host)["pathParameters"] == {"id": "6"}
    client.delete_api(ApiId=api["ApiId"])
    assert ask(f"{cloud.host(api['ApiId'])}/pets/5").status == 403


def test_a_function_url(cloud: Cloud, arns: dict[str, str]) -> None:
    client = cloud.client("lambda")
    url = client.create_function_url_config(FunctionName="mirror", AuthType="NONE")["FunctionUrl"]
    event = ask(f"{url}a?q=1").json()
    assert (event["rawPath"], event["rawQueryString"], event["requestContext"]["accountId"]) == (
        "/a",
        "q=1",
        "anonymous",
    )
    url_id = event["requestContext"]["apiId"]
    path_form = f"{cloud.url}/_aws/lambda-url/{url_id}/b"
    assert ask(path_form).json()["rawPath"] == "/b"
    by_host = by_host_header(cloud, f"{url_id}.lambda-url.us-east-1.localhost", "/c")
    assert json.loads(by_host)["rawPath"] == "/c"
    client.delete_function_url_config(FunctionName="mirror")
    assert ask(path_form).status == 403


def by_host_header(cloud: Cloud, host: str, path: str) -> bytes:
    parts = urlsplit(cloud.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path, headers={"Host": f"{host}:{parts.port}"})
        return connection.getresponse().read()
    finally:
        connection.close()


def test_the_front_refuses_what_could_be_smuggled(cloud: Cloud) -> None:
    parts = urlsplit(cloud.url)
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as client:
        client.sendall(raw + b"GET /_preheat/health HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_https_with_the_certificate_of_our_own(tmp_path: Path) -> None:
    secure = Cloud(tmp_path / "data", "--tls").start()
    try:
        errors = tmp_path / "data.stderr"
        line = eventually(lambda: next((one for one in errors.read_text().splitlines() if "https://" in one), ""))
        url, bundle = line.split()[1], line.partition("AWS_CA_BUNDLE=")[2].split()[0]
        client = boto3.client(
            "apigatewayv2",
            "us-east-1",
            endpoint_url=url,
            verify=bundle,
            aws_access_key_id="a",
            aws_secret_access_key="b",
        )
        arn = secure.create_function("mirror", EVENT_HANDLER)
        api = client.create_api(Name="h", ProtocolType="HTTP", Target=arn)["ApiId"]
        context = ssl.create_default_context(cafile=bundle)
        with urllib.request.urlopen(f"{url}/_aws/execute-api/{api}/x", context=context, timeout=30) as answer:
            assert json.loads(answer.read())["headers"]["x-forwarded-proto"] == "https"
    finally:
        assert secure.end() == 0
