"""OpenAPI documents of the shapes that SAM and the AWS documentation show, imported, deployed and called.

Shapes from: SAM's examples of a proxied API and of a Swagger definition; the developer guide's pet store, "Enable CORS
using the API Gateway import API" and "Working with OpenAPI definitions for HTTP APIs". The words are our own. And the
fidelity sheet's faults 10 to 12, through an API of that kind.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from e2e_cloud import Answer, Cloud, ask, eventually, integration_uri

SOURCE = """
import json, time

def lambda_handler(event, context):
    if (event.get("queryStringParameters") or {}).get("split"):
        return {"statusCode": 200, "headers": {"X-A": "b\\r\\nSet-Cookie: stolen=1"}, "body": ""}
    time.sleep(float((event.get("queryStringParameters") or {}).get("sleep", 0)))
    body = {name: event.get(name) for name in ("version", "resource", "routeKey", "path", "rawPath", "pathParameters")}
    body["length"] = len(event.get("body") or "")
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": json.dumps(body)}
"""

SAM_PROXY = """
openapi: "3.0.1"
info:
  title: proxied
  version: "1.0"
servers:
  - url: "https://host.example/{basePath}"
    variables:
      basePath: {default: "/Prod"}
paths:
  /:
    x-amazon-apigateway-any-method: &method
      responses: {}
      x-amazon-apigateway-integration:
        type: aws_proxy
        httpMethod: POST
        passthroughBehavior: when_no_match
        uri: "%(uri)s"
  /{proxy+}:
    x-amazon-apigateway-any-method:
      <<: *method
      parameters:
        - {name: proxy, in: path, required: true, schema: {type: string}}
"""

SWAGGER_PETS = """
swagger: "2.0"
info: {title: pets, version: "2026-01-01T00:00:00Z"}
basePath: /test
schemes: [https]
paths:
  /pets:
    get:
      produces: [application/json]
      parameters:
        - {name: type, in: query, required: true, type: string}
        - {name: page, in: query, required: false, type: string}
      responses:
        "200":
          description: all pets
          schema: {$ref: "#/definitions/Pets"}
          headers: {Access-Control-Allow-Origin: {type: string}}
      x-amazon-apigateway-request-validator: parameters
      x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, uri: "%(uri)s"}
    post:
      consumes: [application/json]
      parameters: [{name: NewPet, in: body, required: true, schema: {$ref: "#/definitions/NewPet"}}]
      responses: {"200": {description: made}}
      x-amazon-apigateway-request-validator: body
      x-amazon-apigateway-integration: {type: aws_proxy, httpMethod: POST, uri: "%(uri)s"}
    options:
      consumes: [application/json]
      responses:
        "200":
          description: CORS
          headers:
            Access-Control-Allow-Origin: {type: string}
            Access-Control-Allow-Methods: {type: string}
      x-amazon-apigateway-integration:
        type: mock
        requestTemplates: {application/json: '{"statusCode": 200}'}
        responses:
          default:
            statusCode: "200"
            responseParameters:
              method.response.header.Access-Control-Allow-Origin: "'*'"
              method.response.header.Access-Control-Allow-Methods: "'GET,POST,OPTIONS'"
            responseTemplates: {application/json: "{}"}
  /pets/{petId}:
    get:
      parameters: [{name: petId, in: path, required: true, type: string}]
      responses: {"200": {description: one pet}}
      x-amazon-apigateway-integration:
        type: aws
        httpMethod: POST
        uri: "%(uri)s"
        requestTemplates:
          application/json: '{"path": "$input.params(''petId'')", "queryStringParameters": null}'
        responses:
          default:
            statusCode: "200"
            responseTemplates: {application/json: "$input.path('$.body')"}
definitions:
  Pets: {type: array, items: {$ref: "#/definitions/Pet"}}
  Pet: {type: object, properties: {id: {type: integer}, type: {type: string}}}
  NewPet: {type: object, required: [type], properties: {type: {type: string}}}
x-amazon-apigateway-request-validators:
  parameters: {validateRequestBody: false, validateRequestParameters: true}
  body: {validateRequestBody: true, validateRequestParameters: false}
x-amazon-apigateway-gateway-responses:
  DEFAULT_4XX:
    responseParameters: {gatewayresponse.header.Access-Control-Allow-Origin: "'*'"}
"""

HTTP_API = """
openapi: "3.0.1"
info: {title: http, version: "1.0"}
paths:
  /pets/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: string}}]
      responses: {default: {description: one pet}}
      x-amazon-apigateway-integration: &two
        type: AWS_PROXY
        httpMethod: POST
        uri: "%(variable)s"
        connectionType: INTERNET
        payloadFormatVersion: "2.0"
    post:
      responses: {default: {description: one pet}}
      x-amazon-apigateway-integration:
        <<: *two
        payloadFormatVersion: "1.0"
  /$default:
    x-amazon-apigateway-any-method:
      isDefaultRoute: true
      responses: {default: {description: everything else}}
      x-amazon-apigateway-integration: *two
x-amazon-apigateway-cors:
  allowOrigins: ["http://ok.example"]
  allowMethods: [GET]
  maxAge: 600
"""


@pytest.fixture(scope="module")
def names(cloud: Cloud) -> dict[str, str]:
    """What the documents need: `uri`, and `variable`, which leaves the function to a stage variable."""
    arn = cloud.create_function("pets", SOURCE)
    return {"uri": integration_uri(arn), "variable": integration_uri(arn).replace(":pets/", ":${stageVariables.fn}/")}


def deployed(cloud: Cloud, text: str, stage: str) -> str:
    """Where an imported document's API is."""
    client = cloud.client("apigateway")
    api = client.import_rest_api(body=text.encode(), failOnWarnings=True)["id"]
    client.create_deployment(restApiId=api, stageName=stage)
    return f"{cloud.host(api)}/{stage}"


@pytest.fixture(scope="module")
def proxy(cloud: Cloud, names: dict[str, str]) -> str:
    return deployed(cloud, SAM_PROXY % names, "Prod")


def send(url: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
    """One request by http.client; an iterable body goes out in chunks."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def test_sams_proxy(proxy: str) -> None:
    for method in ("GET", "DELETE"):
        answer = send(f"{proxy}/a/b", method).json()
        assert (answer["resource"], answer["pathParameters"]) == ("/{proxy+}", {"proxy": "a/b"})
    assert send(f"{proxy}/").json()["resource"] == "/"


def test_the_pet_store(cloud: Cloud, names: dict[str, str]) -> None:
    url = deployed(cloud, SWAGGER_PETS % names, "test")
    assert send(f"{url}/pets?type=dog").json()["resource"] == "/pets"
    missing = send(f"{url}/pets")
    assert (missing.status, missing.headers["access-control-allow-origin"]) == (400, "*")
    assert missing.json() == {"message": "Missing required request parameters: [type]"}
    assert send(f"{url}/pets", "POST", b'{"type": "cat"}', Content_Type="application/json").status == 200
    assert send(f"{url}/pets", "POST", b"{}", Content_Type="application/json").status == 400
    preflight = send(f"{url}/pets", "OPTIONS", Origin="http://x.example")
    assert (preflight.status, preflight.headers["access-control-allow-methods"]) == (200, "GET,POST,OPTIONS")
    one = send(f"{url}/pets/7", Content_Type="application/json")
    assert (one.status, one.json()["path"]) == (200, "7")


def test_an_http_api_document(cloud: Cloud, names: dict[str, str]) -> None:
    client = cloud.client("apigatewayv2")
    api = client.import_api(Body=HTTP_API % names)["ApiId"]
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True, StageVariables={"fn": "pets"})
    url = cloud.host(api)
    two, one, other = send(f"{url}/pets/7"), send(f"{url}/pets/7", "POST"), send(f"{url}/else")
    assert (two.json()["routeKey"], two.json()["pathParameters"]) == ("GET /pets/{id}", {"id": "7"})
    assert (one.json()["version"], one.json()["resource"]) == ("1.0", "/pets/{id}")
    assert other.json()["routeKey"] == "$default"
    preflight = send(f"{url}/x", "OPTIONS", Origin="http://ok.example", Access_Control_Request_Method="GET")
    assert (preflight.status, preflight.headers["access-control-max-age"]) == (204, "600")
    exported = client.export_api(ApiId=api, OutputType="YAML", Specification="OAS30")["body"].read()
    again = client.reimport_api(ApiId=api, Body=exported.decode())
    assert (again["Name"], send(f"{url}/pets/8").json()["pathParameters"]) == ("http", {"id": "8"})


def test_sams_placeholders_name_the_line_to_change(cloud: Cloud, names: dict[str, str]) -> None:
    uri = "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Predict.Arn}/invocations"
    text = SAM_PROXY.replace('"%(uri)s"', f'!Sub "{uri}"')
    line = next(number for number, one in enumerate(text.splitlines(), 1) if "!Sub" in one)
    with pytest.raises(ClientError, match=f"Line {line}: !Sub is CloudFormation's to fill in") as raised:
        cloud.client("apigateway").import_rest_api(body=text.encode())
    assert raised.value.response["Error"]["Code"] == "BadRequestException"


def test_events_are_carried_out_by_lambdas_queue(cloud: Cloud, names: dict[str, str]) -> None:
    integration = f"""{{type: aws, httpMethod: POST, uri: "{names["uri"]}",
      requestParameters: {{integration.request.header.X-Amz-Invocation-Type: "'Event'"}},
      responses: {{default: {{statusCode: "202"}}}}}}"""
    text = f"""
openapi: "3.0.1"
info: {{title: events}}
paths:
  /x:
    post:
      responses: {{"202": {{description: accepted}}}}
      x-amazon-apigateway-integration: {integration}
"""
    before = len(cloud.records("invocation", "pets"))
    answer = ask(f"{deployed(cloud, text, 's')}/x", b'{"queryStringParameters": {"sleep": 0.2}}')
    assert (answer.status, answer.body) == (202, b"")
    assert eventually(lambda: len(cloud.records("invocation", "pets")) > before)


# fault 10: sizes, chunks, ambiguous messages, slow clients; fault 11: clients that leave, headers that split;
# fault 12: paths that lead elsewhere


def raw(url: str, text: str) -> bytes:
    """What comes back for bytes sent as they are, until the server closes."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as client:
        client.sendall(text.format(path=parts.path, host=parts.netloc).encode("latin-1"))
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_fault_10_payloads(proxy: str) -> None:
    assert send(f"{proxy}/x", "POST", b"x" * 7_000_000).status == 413
    chunked = send(f"{proxy}/x", "POST", iter([b"one", b"two"]))
    assert (chunked.status, chunked.json()["length"]) == (200, 6)


def test_fault_10_malformed_json(cloud: Cloud, names: dict[str, str]) -> None:
    url = deployed(cloud, SWAGGER_PETS % names, "test")
    answer = send(f"{url}/pets", "POST", b'{"type":', Content_Type="application/json")
    assert (answer.status, answer.json()) == (400, {"message": "Invalid request body"})


def test_fault_10_two_lengths(proxy: str) -> None:
    head = "POST {path}/x HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    answer = raw(proxy, head)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_fault_10_a_slow_client_keeps_nobody_waiting(proxy: str) -> None:
    parts = urlsplit(proxy)
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as slow:
        slow.sendall(f"POST {parts.path}/x HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Le".encode())
        assert send(f"{proxy}/x").status == 200


def test_fault_11_a_client_that_leaves(cloud: Cloud, proxy: str) -> None:
    parts = urlsplit(proxy)
    before = len(cloud.records("invocation", "pets"))
    with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as client:
        client.sendall(f"GET {parts.path}/x?sleep=0.3 HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    assert eventually(lambda: len(cloud.records("invocation", "pets")) == before + 1)
    assert send(f"{proxy}/x").status == 200


def test_fault_11_headers_never_split(proxy: str) -> None:
    answer = send(f"{proxy}/x?split=1")
    assert (answer.status, answer.json()) == (502, {"message": "Internal server error"})
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/%2e%2e/%2e%2e/etc/passwd", "/../../etc/passwd", "/x%00", "/%2e%2e%2f%2e%2e"])
def test_fault_12_paths(proxy: str, path: str) -> None:
    answer = raw(proxy, "GET {path}" + path + " HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ")[1] in (b"400", b"403")
    assert b"root:" not in answer


def test_fault_12_two_slashes(proxy: str) -> None:
    """Slashes too many at the start lead where one leads, as recorded; within a path nowhere that has no such part."""
    answer = raw(proxy, "GET {path}//etc/passwd HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["pathParameters"] == {"proxy": "etc/passwd"}
