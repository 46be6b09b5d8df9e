"""Non-proxy integrations end to end on a fake Lambda: both directions of the mapping, and HTTP to this machine."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, invoke_uri

from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpResponse

JSON = "application/json"
HOST = ("Host", "127.0.0.1:4566")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


def custom(cloud: Cloud, responses: list[dict[str, Any]] | None = None, **integration: Any) -> str:
    """An API with an AWS integration at /x (or /{id}); `responses` are PutIntegrationResponse's parameters."""
    path = integration.pop("path", "/x")
    api = cloud.api(**integration.pop("api", {}))
    integration = {"type": "AWS", "integrationHttpMethod": "POST", "uri": invoke_uri(), **integration}
    resource = cloud.method(api, path, **integration)
    names = {"restApiId": api, "resourceId": resource, "httpMethod": "ANY"}
    for response in responses or [{"statusCode": "200"}]:
        declared = dict.fromkeys(response.get("responseParameters", {}), False)
        cloud.call("put_method_response", **names, statusCode=response["statusCode"], responseParameters=declared)
        cloud.call("put_integration_response", **names, **response)
    cloud.deploy(api)
    return api


def event(cloud: Cloud) -> Any:
    return json.loads(cloud.functions.invocations[-1].payload)


def test_the_body_is_the_event_and_the_answer_the_body(cloud: Cloud) -> None:
    """The assignment's non-proxy shape: the function's `{"statusCode": …}` comes back as the body."""
    cloud.functions.payload = b'{"statusCode": 201, "body": "x"}'
    api = custom(cloud)
    response = cloud.request(api, "/x", method="POST", body=b'{"values": [1, 2]}')
    assert event(cloud) == {"values": [1, 2]}
    assert (response.status, response.body) == (200, b'{"statusCode": 201, "body": "x"}')
    assert header(response, "content-type") == JSON
    assert header(response, "x-amzn-requestid")
    assert str(header(response, "x-amzn-trace-id")).startswith("Root=1-")


def test_request_template_and_parameters(cloud: Cloud) -> None:
    template = """#set($b = $input.path('$'))
{"values": $input.json('$.v'), "id": "$input.params('id')", "q": "$input.params('q')", "first": $b.v[0],
 "stage": "$context.stage", "method": "$context.httpMethod", "ip": "$context.identity.sourceIp"}"""
    api = custom(cloud, path="/{id}", requestTemplates={JSON: template})
    assert cloud.request(api, "/p1?q=a", method="POST", body=b'{"v": [5, 6]}').status == 200
    assert event(cloud) == {
        "values": [5, 6],
        "id": "p1",
        "q": "a",
        "first": 5,
        "stage": "default",
        "method": "POST",
        "ip": "127.0.0.1",
    }


@pytest.mark.parametrize(
    ("behaviour", "content_type", "expected"),
    [
        ("WHEN_NO_MATCH", "text/csv", {"raw": 1}),
        ("WHEN_NO_TEMPLATES", "text/csv", None),
        ("NEVER", "text/csv", None),
        ("NEVER", JSON, {"t": 1}),
        ("NEVER", f"{JSON}; charset=utf-8", {"t": 1}),
    ],
)
def test_passthrough(cloud: Cloud, behaviour: str, content_type: str, expected: Any) -> None:
    api = custom(cloud, requestTemplates={JSON: '{"t": 1}'}, passthroughBehavior=behaviour)
    response = cloud.request(
        api, "/x", method="POST", body=b'{"raw": 1}', headers=[("Host", "h"), ("Content-Type", content_type)]
    )
    if expected is None:
        assert (response.status, response.body) == (415, b'{"message":"Unsupported Media Type"}')
        assert not cloud.functions.invocations
    else:
        assert response.status == 200
        assert event(cloud) == expected


RESPONSES = [
    {"statusCode": "200", "responseTemplates": {JSON: "{\"wrapped\": $input.json('$')}"}},
    {"statusCode": "400", "selectionPattern": ".*bad input.*", "responseTemplates": {JSON: "$input.path('$')"}},
    {"statusCode": "500", "selectionPattern": "(\\n|.)+"},
]


@pytest.mark.parametrize(
    ("payload", "error", "status", "body"),
    [
        (b'{"a":1}', None, 200, b'{"wrapped": {"a":1}}'),
        (b'{"errorMessage":"some bad input here"}', "Unhandled", 400, b"{errorMessage=some bad input here}"),
        (b'{"errorMessage":"two\\nlines"}', "Unhandled", 500, b'{"errorMessage":"two\\nlines"}'),
    ],
)
def test_selection_patterns(cloud: Cloud, payload: bytes, error: str | None, status: int, body: bytes) -> None:
    responses = [dict(response) for response in RESPONSES]
    responses[2]["selectionPattern"] = "two.+"
    api = custom(cloud, responses)
    cloud.functions.payload, cloud.functions.function_error = payload, error
    response = cloud.request(api, "/x", method="POST", body=b"{}")
    assert (response.status, response.body) == (status, body)


def test_an_unmapped_function_error_is_200(cloud: Cloud) -> None:
    api = custom(cloud)
    cloud.functions.payload, cloud.functions.function_error = b'{"errorMessage":"x"}', "Unhandled"
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (200, b'{"errorMessage":"x"}')


def test_without_an_integration_response_it_is_500(cloud: Cloud) -> None:
    api = custom(cloud, [{"statusCode": "200", "selectionPattern": "never"}])
    assert cloud.request(api, "/x").status == 500


def test_response_headers_and_overrides(cloud: Cloud) -> None:
    api = custom(
        cloud,
        [
            {
                "statusCode": "200",
                "responseParameters": {
                    "method.response.header.A": "'static'",
                    "method.response.header.B": "integration.response.body.b",
                    "method.response.header.C": "context.stage",
                    "method.response.header.D": "integration.response.header.none",
                },
                "responseTemplates": {
                    JSON: '#set($context.responseOverride.status = 202)#set($context.responseOverride.header.A = "o")x'
                },
            }
        ],
    )
    cloud.functions.payload = b'{"b": "from the body"}'
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (202, b"x")
    assert [header(response, name) for name in "ABCD"] == ["o", "from the body", "default", None]


def test_an_asynchronous_invocation(cloud: Cloud) -> None:
    api = custom(cloud, requestParameters={"integration.request.header.X-Amz-Invocation-Type": "'Event'"})
    response = cloud.request(api, "/x", method="POST", body=b'{"a": 1}')
    assert (response.status, response.body) == (200, b"")
    assert (cloud.functions.events, cloud.functions.invocations) == ([b'{"a": 1}'], [])


@pytest.mark.parametrize("template", ["not JSON", "$input.json('$.x')#foreach("])
def test_templates_that_fail(cloud: Cloud, template: str) -> None:
    api = custom(cloud, [{"statusCode": "200", "selectionPattern": "200"}], requestTemplates={JSON: template})
    assert cloud.request(api, "/x", method="POST", body=b"{}").status == 500
    assert not cloud.functions.invocations


def test_what_lambda_refuses_passes_the_mapping(cloud: Cloud) -> None:
    api = custom(cloud, [{"statusCode": "200"}, {"statusCode": "429", "selectionPattern": "429"}])
    refused = AwsError("TooManyRequestsException", "Rate Exceeded.", 429, fields={"Reason": "x"})
    cloud.functions.behave = lambda future: future.set_exception(refused)
    response = cloud.request(api, "/x")
    assert (response.status, json.loads(response.body)["message"]) == (429, "Rate Exceeded.")


def test_time_out(cloud: Cloud) -> None:
    api = custom(cloud, timeoutInMillis=50)
    cloud.functions.behave = lambda future: None
    response = cloud.request(api, "/x")
    assert (response.status, response.body) == (504, b'{"message":"Endpoint request timed out"}')


def test_mock_for_cors(cloud: Cloud) -> None:
    cors = {f"method.response.header.Access-Control-Allow-{name}": "'*'" for name in ("Origin", "Headers", "Methods")}
    api = custom(
        cloud,
        [{"statusCode": "204", "responseParameters": cors}],
        type="MOCK",
        requestTemplates={JSON: '#if($input.params("x") == "")#set($s = 204)#end{"statusCode": $s}'},
    )
    response = cloud.request(api, "/x", method="OPTIONS")
    assert response.status == 204
    assert header(response, "access-control-allow-origin") == "*"


def test_binary_in_and_out(cloud: Cloud) -> None:
    api = custom(
        cloud,
        [{"statusCode": "200", "contentHandling": "CONVERT_TO_BINARY"}],
        api={"binaryMediaTypes": ["image/png"]},
        contentHandling="CONVERT_TO_TEXT",
        requestTemplates={"image/png": '{"image": "$input.body"}'},
    )
    cloud.functions.payload = b'"iVBORw=="'
    response = cloud.request(
        api, "/x", method="POST", body=b"\x89PNG", headers=[("Host", "h"), ("Content-Type", "image/png")]
    )
    assert event(cloud) == {"image": "iVBORw=="}
    assert (response.status, response.body) == (200, b"\x89PNG")


class Target(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = {"path": self.path, "headers": dict(self.headers), "body": body.decode()}
        self.send_response(418)
        self.send_header("X-Target", "yes")
        self.send_header("Content-Type", JSON)
        self.end_headers()
        self.wfile.write(json.dumps(seen).encode())

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def target() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def test_http_proxy_to_this_machine(cloud: Cloud, target: int) -> None:
    api = cloud.api()
    cloud.method(
        api,
        "/{proxy+}",
        type="HTTP_PROXY",
        integrationHttpMethod="ANY",
        uri=f"http://127.0.0.1:{target}/base/{{proxy}}",
        requestParameters={
            "integration.request.path.proxy": "method.request.path.proxy",
            "integration.request.header.X-Stage": "context.stage",
        },
    )
    cloud.deploy(api)
    response = cloud.request(
        api, "/a/b?q=1&q=2", method="POST", body=b"raw", headers=[("Host", "h"), ("X-Own", "o"), ("Connection", "x")]
    )
    seen = json.loads(response.body)
    assert (response.status, header(response, "x-target")) == (418, "yes")
    assert (seen["path"], seen["body"]) == ("/base/a/b?q=1&q=2", "raw")
    assert seen["headers"]["X-Own"] == "o"
    assert seen["headers"]["X-Stage"] == "default"
    assert "x" not in seen["headers"].get("Connection", "")
    assert seen["headers"]["x-amzn-apigateway-api-id"] == api
    assert header(response, "date") is None
    assert header(response, "x-amzn-remapped-date")


def test_http_with_mappings(cloud: Cloud, target: int) -> None:
    api = custom(
        cloud,
        [{"statusCode": "200"}, {"statusCode": "409", "selectionPattern": "4\\d\\d"}],
        type="HTTP",
        integrationHttpMethod="POST",
        uri=f"http://localhost:{target}/t",
        requestTemplates={JSON: '{"was": $input.body}'},
        requestParameters={f"integration.request.header.{name}": "'gzip'" for name in ("TE", "Expect", "Age")},
    )
    response = cloud.request(api, "/x", method="PUT", body=b'{"a":1}')
    seen = json.loads(response.body)
    assert (response.status, seen["body"]) == (409, '{"was": {"a":1}}')
    assert (seen["headers"]["Accept"], seen["headers"]["User-Agent"]) == (JSON, f"AmazonAPIGateway_{api}")
    # test_http_integration_method and test_apigateway_header_remapping_http: the first two are not sent
    assert {"TE", "Expect", "Accept-Encoding"}.isdisjoint(seen["headers"])
    assert seen["headers"]["Age"] == "gzip"


def test_http_proxy_mappings_as_recorded(cloud: Cloud, target: int) -> None:
    """localstack's test_http_proxy_integration_request_data_mappings, its requests and its configuration."""
    api = cloud.api()
    cloud.method(
        api,
        "/{pathVariable}",
        type="HTTP_PROXY",
        integrationHttpMethod="POST",
        uri=f"http://127.0.0.1:{target}/?testVar={{pathVar}}&testQs={{qsVar}}",
        requestParameters={
            "integration.request.header.headerVar": "method.request.header.foobar",
            "integration.request.path.qsVar": "method.request.querystring.testVar",
            "integration.request.path.pathVar": "method.request.path.pathVariable",
            "integration.request.querystring.queryString": "method.request.querystring.testQueryString",
            "integration.request.querystring.testEmptyQs": "method.request.header.emptyheader",
        },
    )
    cloud.deploy(api)
    headers = [HOST, ("foobar", "mapped-value"), ("headerVar", "request-value")]
    response = cloud.request(api, "/foobar?testQueryString=foo&testVar=bar", method="POST", headers=headers)
    seen = json.loads(response.body)
    assert seen["headers"]["headerVar"] == "mapped-value"
    path, _, query = seen["path"].partition("?")
    assert path == "/"
    assert query.startswith("testVar=foobar&testQs=bar&")
    assert "queryString=foo" in query
    assert "testEmptyQs" not in query


def test_http_failures(cloud: Cloud) -> None:
    def serve(uri: str) -> HttpResponse:
        api = cloud.api()
        cloud.method(api, "/x", type="HTTP_PROXY", integrationHttpMethod="GET", uri=uri)
        cloud.deploy(api, variables={"host": "10.0.0.1"})
        return cloud.request(api, "/x")

    assert serve("http://127.0.0.1:1/").status == 504
    assert serve("http://${stageVariables.host}/").status == 500


def test_many_at_once(cloud: Cloud) -> None:
    from preheat.kernel.http import HttpRequest

    api = custom(cloud, requestTemplates={JSON: '{"n": $input.params("n")}'})

    async def all_of_them() -> list[HttpResponse]:
        path = f"/_aws/execute-api/{api}/default/x"
        return await asyncio.gather(*(cloud.send(HttpRequest("GET", path, f"n={n}")) for n in range(50)))

    assert {response.status for response in asyncio.run(all_of_them())} == {200}
    assert sorted(json.loads(one.payload)["n"] for one in cloud.functions.invocations) == list(range(50))
