"""HTTP APIs: OpenAPI documents in and out, route throttling, parameter mapping, access logs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from apigateway_support import ACCOUNT, FUNCTION_ARN, HOST, HttpCloud, header, invoke_uri

from preheat.kernel.errors import AwsError

INTEGRATION = "x-amazon-apigateway-integration"
TWO = {"type": "aws_proxy", "httpMethod": "POST", "uri": invoke_uri(), "payloadFormatVersion": "2.0"}
ONE = {**TWO, "payloadFormatVersion": "1.0"}


@pytest.fixture
def cloud(tmp_path: Path) -> HttpCloud:
    return HttpCloud(tmp_path)


def document() -> dict[str, Any]:
    return {
        "openapi": "3.0.1",
        "info": {"title": "pets", "version": "7", "description": "of ours"},
        "servers": [{"url": "https://example.com/v1"}],
        "tags": [{"name": "team", "x-amazon-apigateway-tag-value": "ml"}],
        "paths": {
            "/pets/{id}": {
                "get": {"operationId": "pet", INTEGRATION: TWO},
                "x-amazon-apigateway-any-method": {INTEGRATION: ONE},
            },
            "/guarded": {"get": {"security": [{"auth": []}], INTEGRATION: {"$ref": "#/components/shared/two"}}},
            "/$default": {"x-amazon-apigateway-any-method": {"isDefaultRoute": True, INTEGRATION: TWO}},
        },
        "components": {
            "shared": {"two": TWO},
            "securitySchemes": {
                "auth": {
                    "type": "apiKey",
                    "name": "Authorization",
                    "in": "header",
                    "x-amazon-apigateway-authorizer": {
                        "type": "request",
                        "identitySource": "$request.header.Authorization",
                        "authorizerUri": invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:auth"),
                        "authorizerPayloadFormatVersion": "2.0",
                        "enableSimpleResponses": True,
                    },
                }
            },
        },
        "x-amazon-apigateway-cors": {"allowOrigins": ["http://ok.example"], "allowMethods": ["GET"], "maxAge": 60},
    }


def imported(cloud: HttpCloud, given: Any, **params: Any) -> str:
    api = str(cloud.call("import_api", Body=given if isinstance(given, str) else json.dumps(given), **params)["ApiId"])
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    return api


def routes(cloud: HttpCloud, api: str) -> list[str]:
    return sorted(item["RouteKey"] for item in cloud.call("get_routes", ApiId=api)["Items"])


ROUTES = ["$default", "ANY /pets/{id}", "GET /guarded", "GET /pets/{id}"]


# documents


def test_an_imported_api_serves(cloud: HttpCloud) -> None:
    api = imported(cloud, document())
    shown = cloud.call("get_api", ApiId=api)
    assert (shown["Name"], shown["Version"], shown["Description"], shown["Tags"]) == (
        "pets",
        "7",
        "of ours",
        {"team": "ml"},
    )
    assert routes(cloud, api) == ROUTES
    assert len(cloud.call("get_integrations", ApiId=api)["Items"]) == 2
    for path, method, key, version in (
        ("/pets/1", "GET", "GET /pets/{id}", "2.0"),
        ("/pets/1", "POST", "ANY /pets/{id}", "1.0"),
        ("/else", "PUT", "$default", "2.0"),
    ):
        assert cloud.ask(api, path, method).status == 200
        event = cloud.event()
        assert event["version"] == version
        assert (event["routeKey"] if version == "2.0" else event["requestContext"]["resourceId"]) == key
    assert cloud.ask(api, "/guarded").status == 401
    answer = cloud.ask(api, "/", headers=[HOST, ("Origin", "http://ok.example")])
    assert header(answer, "access-control-allow-origin") == "http://ok.example"


@pytest.mark.parametrize(
    ("mode", "key"), [("ignore", "GET /guarded"), ("prepend", "GET /v1/guarded"), ("split", "GET /guarded")]
)
def test_base_paths(cloud: HttpCloud, mode: str, key: str) -> None:
    found = routes(cloud, imported(cloud, document(), Basepath=mode))
    assert key in found
    assert "$default" in found


def test_stage_variables_in_a_document(cloud: HttpCloud) -> None:
    uri = invoke_uri(f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:${{stageVariables.name}}")
    given = {**document(), "paths": {"/x": {"get": {INTEGRATION: {**TWO, "uri": uri}}}}}
    api = imported(cloud, yaml.safe_dump(given))
    cloud.call("update_stage", ApiId=api, StageName="$default", StageVariables={"name": "iris"})
    assert cloud.ask(api, "/x").status == 200
    assert cloud.functions.invocations[-1].invoked_arn == FUNCTION_ARN


def refused_documents() -> list[tuple[Any, str]]:
    swagger = {"swagger": "2.0", "info": {"title": "x"}, "paths": {}}
    sub = document()
    sub["paths"]["/guarded"]["get"][INTEGRATION] = {**TWO, "uri": {"Fn::Sub": "arn"}}
    wrong = document()
    wrong["paths"]["/guarded"]["get"][INTEGRATION] = {**TWO, "uri": "nothing"}
    return [
        (swagger, "Only OpenAPI 3.0 is currently supported"),
        ({"openapi": "3.0.1", "info": {}, "paths": {}}, "needs a title"),
        (sub, "Line 1: Fn::Sub is CloudFormation's to fill in"),
        (wrong, "GET /guarded: Invalid function ARN"),
        ("openapi: [", "Unable to parse API definition"),
    ]


@pytest.mark.parametrize(("given", "words"), refused_documents())
def test_a_refused_document_leaves_nothing(cloud: HttpCloud, given: Any, words: str) -> None:
    with pytest.raises(AwsError, match=words):
        imported(cloud, given)
    assert cloud.call("get_apis")["Items"] == []
    api = imported(cloud, document())
    with pytest.raises(AwsError, match=words):
        cloud.call("reimport_api", ApiId=api, Body=given if isinstance(given, str) else json.dumps(given))
    assert (routes(cloud, api), len(cloud.call("get_apis")["Items"])) == (ROUTES, 1)


def test_warnings_are_failures_when_asked_for(cloud: HttpCloud) -> None:
    given = {**document(), "paths": {"/bare": {"get": {}}}}
    with pytest.raises(AwsError, match="no integration for GET /bare"):
        imported(cloud, given, FailOnWarnings=True)
    assert cloud.ask(imported(cloud, given), "/bare").status == 500


def test_reimporting_replaces_the_definition(cloud: HttpCloud) -> None:
    api = imported(cloud, document())
    given = {"openapi": "3.0.1", "info": {"title": "new"}, "paths": {"/new": {"get": {INTEGRATION: TWO}}}}
    answer = cloud.call("reimport_api", ApiId=api, Body=json.dumps(given))
    assert (answer["ApiId"], answer["Name"], "CorsConfiguration" in answer) == (api, "new", False)
    assert routes(cloud, api) == ["GET /new"]
    assert [cloud.ask(api, path).status for path in ("/new", "/pets/1")] == [200, 404]
    cloud.open()
    assert routes(cloud, api) == ["GET /new"]


@pytest.mark.parametrize("kind", ["JSON", "YAML"])
@pytest.mark.parametrize("stage", [{}, {"StageName": "$default"}])
def test_what_is_exported_imports_as_the_same(cloud: HttpCloud, kind: str, stage: dict[str, str]) -> None:
    def exported(api: str) -> str:
        body = cloud.call("export_api", ApiId=api, Specification="OAS30", OutputType=kind, **stage)["body"]
        return str(body.decode())

    api = imported(cloud, document())
    first = exported(api)
    again = imported(cloud, first)
    assert exported(again).replace(again, api) == first
    read = json.loads(first) if kind == "JSON" else yaml.safe_load(first)
    assert read["x-amazon-apigateway-cors"]["allowOrigins"] == ["http://ok.example"]
    bare = cloud.call("export_api", ApiId=api, Specification="OAS30", OutputType=kind, IncludeExtensions=False)
    assert INTEGRATION.encode() not in bare["body"]


def test_an_export_is_oas30(cloud: HttpCloud) -> None:
    with pytest.raises(AwsError, match="OAS30 is expected"):
        cloud.call("export_api", ApiId=imported(cloud, document()), Specification="swagger", OutputType="JSON")


# throttling


def statuses(cloud: HttpCloud, api: str, *paths: str) -> list[int]:
    return [cloud.ask(api, path).status for path in paths]


def test_routes_are_throttled(cloud: HttpCloud) -> None:
    api = cloud.api()
    for key in ("GET /a", "GET /b", "GET /free"):
        cloud.route(api, key)
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    slow = {"ThrottlingRateLimit": 0.001, "ThrottlingBurstLimit": 1}
    cloud.call("update_stage", ApiId=api, StageName="$default", RouteSettings={"GET /a": slow})
    assert statuses(cloud, api, "/a", "/a", "/free", "/free") == [200, 429, 200, 200]
    assert cloud.ask(api, "/a").body == b'{"message":"Too Many Requests"}'
    more = {**slow, "ThrottlingBurstLimit": 2}
    cloud.call("update_stage", ApiId=api, StageName="$default", DefaultRouteSettings=more)
    assert statuses(cloud, api, "/b", "/b", "/b", "/a") == [200, 200, 429, 429]
    cloud.call("delete_route_settings", ApiId=api, StageName="$default", RouteKey="GET /a")
    assert statuses(cloud, api, "/a", "/a", "/a") == [200, 200, 429]


@pytest.mark.parametrize(
    ("operation", "params", "words"),
    [
        ("update_stage", {"RouteSettings": {"GET /no": {}}}, "Unable to find Route by key GET /no"),
        ("delete_route_settings", {"RouteKey": "GET /no"}, "Unable to find RouteSettings by key GET /no"),
        ("update_stage", {"AccessLogSettings": {"Format": "$context.requestId"}}, "needs the DestinationArn"),
        (
            "update_stage",
            {"AccessLogSettings": {"DestinationArn": "arn:aws:logs:us-east-1:1:log-group:g", "Format": "x"}},
            "must contain",
        ),
    ],
)
def test_stage_settings_refused(cloud: HttpCloud, operation: str, params: dict[str, Any], words: str) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    with pytest.raises(AwsError, match=words):
        cloud.call(operation, ApiId=api, StageName="$default", **params)


# parameter mapping


def mapped(cloud: HttpCloud, version: str = "2.0", **parameters: Any) -> str:
    api = cloud.api()
    cloud.route(api, "ANY /x/{id}", version)
    (integration,) = cloud.call("get_integrations", ApiId=api)["Items"]
    cloud.call("update_integration", ApiId=api, IntegrationId=integration["IntegrationId"], **parameters)
    cloud.call("create_stage", ApiId=api, StageName="prod", AutoDeploy=True, StageVariables={"v": "var"})
    return api


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_requests_are_mapped(cloud: HttpCloud, version: str) -> None:
    api = mapped(
        cloud,
        version,
        RequestParameters={
            "append:header.x-many": "$request.querystring.q",
            "overwrite:header.x-old": "${context.stage}-$stageVariables.v-${request.path.id}",
            "remove:header.x-gone": "''",
            "append:header.x-none": "$request.header.absent",
            "append:querystring.added": "$request.body.a.b",
            "overwrite:querystring.q": "static",
            "remove:querystring.r": "''",
            "overwrite:path": "/new/$request.path.id",
        },
    )
    headers = [HOST, ("x-many", "1"), ("x-old", "o"), ("x-gone", "g")]
    cloud.ask(api, "/prod/x/7?q=2&r=3", "POST", headers=headers, body=b'{"a": {"b": "deep"}}')
    event = cloud.event()
    found = {name: event["headers"].get(name) for name in ("x-many", "x-old", "x-gone", "x-none")}
    assert found == {"x-many": "1,2", "x-old": "prod-$stageVariables.v-7", "x-gone": None, "x-none": None}
    assert event["queryStringParameters"] == {"added": "deep", "q": "static"}
    assert (event["rawPath"] if version == "2.0" else event["path"]) == "/prod/new/$request.path.id"


def test_a_query_that_nothing_maps_stays_as_it_was_sent(cloud: HttpCloud) -> None:
    api = mapped(cloud, RequestParameters={"append:header.x-a": "b"})
    cloud.ask(api, "/prod/x/1?q=a%20b&q=c+d&e")
    assert (cloud.event()["rawQueryString"], cloud.event()["headers"]["x-a"]) == ("q=a%20b&q=c+d&e", "b")


def test_responses_are_mapped_by_status(cloud: HttpCloud) -> None:
    responses = {
        "500": {"overwrite:statuscode": "404", "append:header.x-why": "$response.body.why"},
        "200": {"overwrite:header.x-a": "${response.header.x-b}/${context.requestId}", "remove:header.x-b": ""},
    }
    api = mapped(cloud, ResponseParameters=responses)
    cloud.functions.payload = b'{"statusCode": 500, "body": "{\\"why\\": \\"gone\\"}"}'
    response = cloud.ask(api, "/prod/x/1")
    assert (response.status, header(response, "x-why")) == (404, "gone")
    cloud.functions.payload = b'{"statusCode": 200, "headers": {"x-a": "1", "x-b": "2"}}'
    response = cloud.ask(api, "/prod/x/1")
    assert header(response, "x-a") == f"2/{header(response, 'x-amzn-requestid')}"
    assert header(response, "x-b") is None


@pytest.mark.parametrize(
    "responses", [{"overwrite:statuscode": "$response.body"}, {"append:header.x": "$response.body.a"}]
)
def test_a_mapped_response_that_cannot_be_is_500(cloud: HttpCloud, responses: dict[str, str]) -> None:
    api = mapped(cloud, ResponseParameters={"200": responses})
    cloud.functions.payload = json.dumps({"statusCode": 200, "body": json.dumps({"a": "b\r\nSet-Cookie: c"})}).encode()
    response = cloud.ask(api, "/prod/x/1")
    assert (response.status, header(response, "set-cookie")) == (500, None)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"RequestParameters": {"shout:header.x": "y"}}, "Invalid mapping expression specified: shout:header.x"),
        ({"RequestParameters": {"append:header.Authorization": "y"}}, "Operations on header Authorization are"),
        ({"RequestParameters": {"append:header.x-amzn-x": "y"}}, "Operations on header x-amzn-x are"),
        ({"ResponseParameters": {"700": {"append:header.x": "y"}}}, "Invalid status code 700"),
        ({"ResponseParameters": {"200": {"append:querystring.x": "y"}}}, "Invalid mapping expression"),
    ],
)
def test_mappings_refused(cloud: HttpCloud, parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(AwsError, match=words):
        mapped(cloud, **parameters)


class Echo(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "a": self.headers["x-a"]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def target() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_an_http_target_gets_mapped_requests(cloud: HttpCloud, target: int) -> None:
    uri = f"http://127.0.0.1:{target}/old?k=1"
    parameters = {"overwrite:path": "/new", "append:header.x-a": "$context.routeKey"}
    api = cloud.api()
    integration = cloud.call(
        "create_integration",
        ApiId=api,
        IntegrationType="HTTP_PROXY",
        IntegrationMethod="GET",
        IntegrationUri=uri,
        RequestParameters=parameters,
    )
    cloud.call("create_route", ApiId=api, RouteKey="GET /x", Target=f"integrations/{integration['IntegrationId']}")
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True)
    assert json.loads(cloud.ask(api, "/x?q=2").body) == {"path": "/new?k=1&q=2", "a": "GET /x"}


# access logs


def test_access_logs(cloud: HttpCloud) -> None:
    api = cloud.api(Target=FUNCTION_ARN)
    cloud.route(api, "GET /x")
    form = (
        "$context.requestId $context.httpMethod $context.routeKey $context.path $context.status "
        "$context.responseLength "
        "$context.integration.status $context.integrationStatus $context.error.message $context.identity.sourceIp"
    )
    group = {"DestinationArn": f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:/http/log", "Format": form}
    cloud.call("update_stage", ApiId=api, StageName="$default", AccessLogSettings=group)
    cloud.functions.payload = b'{"statusCode": 201, "body": "made"}'
    good = cloud.ask(api, "/x")
    cloud.functions.function_error = "Unhandled"
    bad = cloud.ask(api, "/other", "POST")
    (((name, _), lines),) = cloud.logs.lines.items()
    assert name == "/http/log"
    assert lines == [
        f"{header(good, 'x-amzn-requestid')} GET GET /x /x 201 4 201 200 - 127.0.0.1",
        f"{header(bad, 'x-amzn-requestid')} POST $default /other 500 35 200 200 Internal Server Error 127.0.0.1",
    ]
    cloud.call("delete_access_log_settings", ApiId=api, StageName="$default")
    cloud.ask(api, "/x")
    assert len(lines) == 2


def test_a_request_without_a_route_is_logged(cloud: HttpCloud) -> None:
    api = cloud.api()
    cloud.route(api, "GET /x")
    group = f"arn:aws:logs:us-east-1:{ACCOUNT}:log-group:g:*"
    log = {"DestinationArn": group, "Format": "$context.requestId|$context.routeKey|$context.status"}
    cloud.call("create_stage", ApiId=api, StageName="$default", AutoDeploy=True, AccessLogSettings=log)
    answer = cloud.ask(api, "/no")
    assert list(cloud.logs.lines.values()) == [[f"{header(answer, 'x-amzn-requestid')}|-|404"]]
