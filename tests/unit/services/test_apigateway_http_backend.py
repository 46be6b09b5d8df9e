"""HTTP and HTTP_PROXY integrations against a server on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from apigateway_support import Cloud, custom, header

from preheat.kernel.http import HttpResponse

JSON = "application/json"
HOST = ("Host", "127.0.0.1:4566")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    return Cloud(tmp_path)


PNG = b"\x89PNG\xff"


class Target(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        seen = {"path": self.path, "headers": dict(self.headers), "body": body.decode("latin-1")}
        self.send_response(418)
        self.send_header("X-Target", "yes")
        self.send_header("Content-Type", JSON)
        self.end_headers()
        self.wfile.write(json.dumps(seen).encode())

    def do_GET(self) -> None:
        """A picture: what comes back is the bytes below."""
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        self.wfile.write(PNG)

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


def proxying(cloud: Cloud, uri: str, path: str = "/x", verb: str = "POST", **parameters: str) -> str:
    """A deployed API whose `path` is an HTTP_PROXY to `uri`."""
    api = cloud.api()
    cloud.method(api, path, type="HTTP_PROXY", integrationHttpMethod=verb, uri=uri, requestParameters=parameters)
    cloud.deploy(api)
    return api


def test_http_proxy_to_this_machine(cloud: Cloud, target: int) -> None:
    api = proxying(
        cloud,
        f"http://127.0.0.1:{target}/base/{{proxy}}",
        "/{proxy+}",
        "ANY",
        **{
            "integration.request.path.proxy": "method.request.path.proxy",
            "integration.request.header.X-Stage": "context.stage",
        },
    )
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
    api = proxying(
        cloud,
        f"http://127.0.0.1:{target}/?testVar={{pathVar}}&testQs={{qsVar}}",
        "/{pathVariable}",
        **{
            "integration.request.header.headerVar": "method.request.header.foobar",
            "integration.request.path.qsVar": "method.request.querystring.testVar",
            "integration.request.path.pathVar": "method.request.path.pathVariable",
            "integration.request.querystring.queryString": "method.request.querystring.testQueryString",
            "integration.request.querystring.testEmptyQs": "method.request.header.emptyheader",
        },
    )
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


def test_content_encoding_does_not_reach_a_proxied_target(cloud: Cloud, target: int) -> None:
    """test_apigateway_header_remapping_http."""
    api = proxying(cloud, f"http://127.0.0.1:{target}/")
    headers = [HOST, ("content-encoding", "deflate"), ("Accept-Encoding", "br")]
    seen = json.loads(cloud.request(api, "/x", method="POST", headers=headers).body)["headers"]
    assert ("content-encoding" in seen, seen["Accept-Encoding"]) == (False, "br")


PNG_TEXT = base64.b64encode(PNG)


@pytest.mark.parametrize(
    ("handling", "content_type", "sent", "received"),
    [
        (None, "image/png", PNG, PNG),
        ("CONVERT_TO_TEXT", "image/png", PNG, PNG_TEXT),
        ("CONVERT_TO_BINARY", "image/png", PNG, PNG),
        (None, "text/plain", b"a\xff", "a\ufffd".encode()),
        ("CONVERT_TO_BINARY", "text/plain", PNG_TEXT, PNG),
        ("CONVERT_TO_BINARY", "text/plain", b"no base64", None),
    ],
)
def test_binary_requests(
    cloud: Cloud, target: int, handling: str | None, content_type: str, sent: bytes, received: bytes | None
) -> None:
    """The guide's table "Content type conversions in API Gateway", requests."""
    api = custom(
        cloud,
        type="HTTP",
        uri=f"http://127.0.0.1:{target}/",
        api={"binaryMediaTypes": ["image/png"]},
        **({"contentHandling": handling} if handling else {}),
    )
    response = cloud.request(api, "/x", method="POST", headers=[HOST, ("Content-Type", content_type)], body=sent)
    assert response.status == (200 if received is not None else 500)
    if received is not None:
        assert json.loads(response.body)["body"].encode("latin-1") == received


@pytest.mark.parametrize(
    ("handling", "accept", "template", "received"),
    [
        (None, "image/png", None, PNG),
        (None, "image/*", None, PNG_TEXT),
        ("CONVERT_TO_TEXT", "image/png", None, PNG_TEXT),
        ("CONVERT_TO_BINARY", "text/plain", None, PNG),
        (None, "text/plain", "$input.body", PNG_TEXT),
        (None, "image/png", "$input.body", None),
    ],
)
def test_binary_responses(
    cloud: Cloud, target: int, handling: str | None, accept: str, template: str | None, received: bytes | None
) -> None:
    """The same table, responses; a template over bytes is a 500 (recorded: TestApiGatewayS3BinarySupport)."""
    api = custom(
        cloud,
        [
            {
                "statusCode": "200",
                **({"contentHandling": handling} if handling else {}),
                **({"responseTemplates": {JSON: template}} if template else {}),
            }
        ],
        type="HTTP",
        integrationHttpMethod="GET",
        uri=f"http://127.0.0.1:{target}/",
        api={"binaryMediaTypes": ["image/png"]},
    )
    response = cloud.request(api, "/x", headers=[HOST, ("Accept", accept)])
    assert (response.status, response.body) == (
        (200, received) if received is not None else (500, b'{"message":"Internal server error"}')
    )


@pytest.mark.parametrize(
    ("source", "body", "expected"),
    [
        ("method.request.body", b"", "{}"),
        ("method.request.body", b"<text>", "<text>"),
        ("method.request.body.pets[0].name", b'{"pets": [{"name": "Rex"}]}', "Rex"),
        ("method.request.body.pets[0].name", b'{"pets": {"name": "Rex"}}', None),
        ("method.request.body.pets[0].name", b"<text>", None),
        ("method.request.body.pets[0].name", b"\n{wrong", 400),
        ("method.request.body", b"\n{wrong", 400),
    ],
)
def test_mappings_of_the_body(cloud: Cloud, target: int, source: str, body: bytes, expected: str | int | None) -> None:
    """localstack's test_parameters_mapping, tried on AWS."""
    api = proxying(cloud, f"http://127.0.0.1:{target}/", **{"integration.request.header.X-Body": source})
    response = cloud.request(api, "/x", method="POST", body=body)
    if expected == 400:
        assert (response.status, response.body) == (400, b'{"message":"Invalid JSON in request body"}')
    else:
        assert json.loads(response.body)["headers"].get("X-Body") == expected
