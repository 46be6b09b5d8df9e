"""Function URLs on a fake Lambda."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from apigateway_support import FUNCTION_ARN, HOST, FakeLambda, header

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionUrl, FunctionVersion
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.v2.function_urls import FunctionUrls


class Urls:
    def __init__(self, functions: FakeLambda, **url: Any) -> None:
        given = {"url_id": "u1", "function_arn": FUNCTION_ARN, "auth_type": "NONE", "invoke_mode": "BUFFERED", **url}
        self._found = functions.resolve("iris"), FunctionUrl(**given)

    def lookup_url(self, url_id: str) -> tuple[FunctionVersion, FunctionUrl] | None:
        return self._found if url_id == "u1" else None


def visit(functions: FakeLambda, request: HttpRequest, **url: Any) -> HttpResponse:
    plane = FunctionUrls(Urls(functions, **url), Lambdas(functions, functions))

    async def ask() -> HttpResponse:
        target = plane.match(request)
        assert target is not None
        answered: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        plane.serve(request, target, answered.set_result)
        return await answered

    return asyncio.run(ask())


URL_HOST = ("Host", "u1.lambda-url.us-east-1.localhost:4566")


@pytest.mark.parametrize(
    "request_",
    [HttpRequest("GET", "/a/b", "q=1", [URL_HOST]), HttpRequest("GET", "/_aws/lambda-url/u1/a/b", "q=1", [HOST])],
    ids=["host", "path"],
)
def test_a_function_url(request_: HttpRequest) -> None:
    functions = FakeLambda()
    functions.payload = b'{"statusCode": 202, "body": "hi", "cookies": ["a=1"]}'
    response = visit(functions, request_)
    assert (response.status, response.body, header(response, "set-cookie")) == (202, b"hi", "a=1")
    event = json.loads(functions.invocations[0].payload)
    assert (event["version"], event["rawPath"], event["rawQueryString"]) == ("2.0", "/a/b", "q=1")
    assert (event["requestContext"]["accountId"], event["requestContext"]["apiId"]) == ("anonymous", "u1")
    assert functions.invocations[0].gateway_request_id == header(response, "x-amzn-requestid")


def test_function_urls_refuse() -> None:
    functions = FakeLambda()
    other = HttpRequest("GET", "/", "", [("Host", "no.lambda-url.us-east-1.localhost")])
    assert visit(functions, other).status == 403
    plain = HttpRequest("GET", "/", "", [URL_HOST])
    response = visit(functions, plain, auth_type="AWS_IAM")
    assert (response.status, response.body) == (403, b'{"Message":"Forbidden"}')
    signed = HttpRequest("GET", "/", "", [URL_HOST, ("Authorization", "AWS4-HMAC-SHA256 Credential=x")])
    assert visit(functions, signed, auth_type="AWS_IAM").status == 200
    functions.function_error = "Unhandled"
    assert (visit(functions, plain).status, visit(functions, plain).body) == (502, b"Internal Server Error")
    functions.behave = lambda future: future.set_exception(AwsError("TooManyRequestsException", "x", 429))
    assert visit(functions, plain).status == 429


def test_function_url_cors() -> None:
    functions = FakeLambda()
    cors = {"AllowOrigins": ["*"], "AllowMethods": ["*"], "MaxAge": 1}
    preflight = [URL_HOST, ("Origin", "http://x"), ("Access-Control-Request-Method", "PUT")]
    response = visit(functions, HttpRequest("OPTIONS", "/", "", preflight), cors=cors)
    assert (response.status, header(response, "access-control-allow-origin")) == (204, "*")
    assert not functions.invocations
    response = visit(functions, HttpRequest("GET", "/", "", [URL_HOST, ("Origin", "http://x")]), cors=cors)
    assert (response.status, header(response, "access-control-allow-origin")) == (200, "*")
