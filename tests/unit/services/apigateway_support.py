"""A control plane and a data plane on a fake Lambda, for the apigateway tests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from preheat.aws.context import OperationContext
from preheat.kernel.arn import parse_function
from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionVersion, Invocation, InvokeResult
from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.apigateway.access_log import AccessLog
from preheat.services.apigateway.gateway import Gateway
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.provider import ApiGatewayProvider
from preheat.services.apigateway.store import Store
from preheat.services.apigateway.v2.gateway import HttpGateway
from preheat.services.apigateway.v2.provider import HttpApiProvider
from preheat.services.apigateway.v2.store import HttpApiStore

ACCOUNT = "000000000000"
FUNCTION_ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:iris"


HOST = ("Host", "a1.execute-api.localhost:4566")


def invoke_uri(function_arn: str = FUNCTION_ARN) -> str:
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function_arn}/invocations"


class FakeLambda:
    """Invoker and FunctionDirectory: answers every invocation with `payload`, or as `behave` decides."""

    def __init__(self) -> None:
        self.payload = b'{"statusCode": 200, "body": "ok"}'
        self.function_error: str | None = None
        self.behave: Callable[[asyncio.Future[InvokeResult]], None] = self.answer
        self.invocations: list[Invocation] = []
        self.functions: list[FunctionVersion] = []
        self.events: list[bytes] = []

    def resolve(self, identifier: str, qualifier: str | None = None) -> FunctionVersion:
        name, _ = parse_function(identifier)
        if name == "missing":
            raise AwsError("ResourceNotFoundException", f"Function not found: {identifier}", 404)
        return FunctionVersion(name, "$LATEST", FUNCTION_ARN, "r1", "python3.11", "m.h", "/nowhere")

    def invoke(self, function: FunctionVersion, invocation: Invocation) -> asyncio.Future[InvokeResult]:
        self.functions.append(function)
        self.invocations.append(invocation)
        future: asyncio.Future[InvokeResult] = asyncio.get_running_loop().create_future()
        self.behave(future)
        return future

    def accept_event(self, identifier: str, payload: bytes, request_id: str, trace_id: str) -> None:
        self.resolve(identifier)
        self.events.append(payload)

    def retire(self, function: FunctionVersion) -> None:
        raise AssertionError("the gateway never retires a function")

    def answer(self, future: asyncio.Future[InvokeResult]) -> None:
        future.set_result(InvokeResult(self.payload, self.function_error, "$LATEST", "r"))


class FakeLogs:
    """LogSink: lines by (group, stream)."""

    def __init__(self) -> None:
        self.lines: dict[tuple[str, str], list[str]] = {}

    def create_stream(self, group: str, stream: str) -> None:
        self.lines.setdefault((group, stream), [])

    def put(self, group: str, stream: str, events: Sequence[tuple[int, str]]) -> None:
        self.lines[group, stream] += [message for _, message in events]


class Cloud:
    """`call` is the control plane, `request` and `send` the data plane."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "apigateway.db"
        self.functions = FakeLambda()
        self.logs = FakeLogs()
        self.open()

    def open(self) -> None:
        """Start from what the database holds, as a restarted server does."""
        self.store = Store(self.path)
        self.gateway = Gateway(self.store, self.functions, self.functions, self.logs, ACCOUNT)
        self.provider = ApiGatewayProvider(self.store, self.gateway)

    def call(self, operation: str, /, **params: Any) -> dict[str, Any]:
        context = OperationContext(
            "apigateway", operation, "us-east-1", ACCOUNT, "test", "id", HttpRequest("POST", "/")
        )
        result = getattr(self.provider, operation)(context, params)
        answer: dict[str, Any] = asyncio.run(result) if asyncio.iscoroutine(result) else result
        return answer

    def api(self, **params: Any) -> str:
        return str(self.call("create_rest_api", **{"name": "api", **params})["id"])

    def resource(self, api: str, path: str) -> str:
        """The id of a path's resource, made with its parents where missing."""
        items = self.call("get_resources", restApiId=api, limit=500)["items"]
        known = {item["path"]: item["id"] for item in items}
        at = ""
        for part in path.strip("/").split("/") if path != "/" else ():
            parent, at = known[at or "/"], f"{at}/{part}"
            if at not in known:
                known[at] = self.call("create_resource", restApiId=api, parentId=parent, pathPart=part)["id"]
        return str(known[path])

    def method(self, api: str, path: str, verb: str = "ANY", **integration: Any) -> str:
        """A method with a Lambda proxy integration (or what `integration` says); returns its resource's id."""
        resource = self.resource(api, path)
        names = {"restApiId": api, "resourceId": resource, "httpMethod": verb}
        self.call("put_method", **names, authorizationType="NONE")
        proxy = {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": invoke_uri()}
        self.call("put_integration", **names, **(integration or proxy))
        return resource

    def deploy(self, api: str, stage: str = "default", **params: Any) -> str:
        return str(self.call("create_deployment", restApiId=api, stageName=stage, **params)["id"])

    def proxy(self, path: str = "/{proxy+}", stage: str = "default", **params: Any) -> str:
        """A deployed API with one Lambda proxy."""
        api = self.api(**params)
        self.method(api, path)
        self.deploy(api, stage)
        return api

    async def send(self, request: HttpRequest) -> HttpResponse:
        target = self.gateway.match(request)
        assert target is not None
        answered: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
        self.gateway.serve(request, target, answered.set_result)
        return await answered

    def request(self, api: str, path: str = "/x", stage: str = "default", **parts: Any) -> HttpResponse:
        """One request by the `_aws/execute-api` path form; `parts` are HttpRequest's fields."""
        path, _, query = path.partition("?")
        parts.setdefault("headers", [("Host", "127.0.0.1:4566")])
        method = parts.pop("method", "GET")
        request = HttpRequest(method, f"/_aws/execute-api/{api}/{stage}{path}", query, **parts)
        return asyncio.run(self.send(request))


def refusal(call: Callable[[], Any]) -> tuple[str, int, str]:
    """(code, status, message) of the AwsError that `call` raises."""
    with pytest.raises(AwsError) as raised:
        call()
    return raised.value.code, raised.value.status, raised.value.message


def patch(op: str, path: str, value: str | None = None) -> list[dict[str, str]]:
    return [{"op": op, "path": path, **({} if value is None else {"value": value})}]


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


def header(response: HttpResponse, name: str) -> str | None:
    return next((value for key, value in response.headers if key.lower() == name.lower()), None)


def message(response: HttpResponse) -> Any:
    return json.loads(response.body)["message"]


def patched(cloud: Cloud, api: str, resource: str, *changes: tuple[str, str]) -> None:
    """UpdateMethod of ANY, then a deployment."""
    operations = [{"op": "replace", "path": path, "value": value} for path, value in changes]
    cloud.call("update_method", restApiId=api, resourceId=resource, httpMethod="ANY", patchOperations=operations)
    cloud.deploy(api)


def keyed(cloud: Cloud, **plan: Any) -> tuple[str, str, str]:
    """(API that wants a key, key value, plan id)"""
    api = cloud.api()
    patched(cloud, api, cloud.method(api, "/x"), ("/apiKeyRequired", "true"))
    key = cloud.call("create_api_key", name="k", enabled=True)
    plan_id = cloud.call("create_usage_plan", name="p", apiStages=[{"apiId": api, "stage": "default"}], **plan)["id"]
    cloud.call("create_usage_plan_key", usagePlanId=plan_id, keyId=key["id"], keyType="API_KEY")
    return api, key["value"], plan_id


def ask_with_key(cloud: Cloud, api: str, key: str | None, path: str = "/x") -> HttpResponse:
    return cloud.request(api, path, headers=[HOST, *([("x-api-key", key)] if key else [])])


class HttpCloud:
    """The same for HTTP APIs: `call` is the control plane, `ask` the data plane."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "apigatewayv2.db"
        self.functions = FakeLambda()
        self.open()

    def open(self) -> None:
        self.store = HttpApiStore(self.path)
        self.provider = HttpApiProvider(self.store)
        self.logs = FakeLogs()
        lambdas = Lambdas(self.functions, self.functions)
        self.gateway = HttpGateway(self.store, lambdas, AccessLog(self.logs), ACCOUNT)

    def call(self, operation: str, /, **params: Any) -> dict[str, Any]:
        http = HttpRequest("POST", "/", headers=[("Host", "127.0.0.1:4566")])
        context = OperationContext("apigatewayv2", operation, "us-east-1", ACCOUNT, "test", "id", http)
        result: dict[str, Any] = getattr(self.provider, operation)(context, params)
        return result

    def api(self, **params: Any) -> str:
        return str(self.call("create_api", Name="a", ProtocolType="HTTP", **params)["ApiId"])

    def route(self, api: str, key: str, version: str = "2.0", **route: Any) -> None:
        integration = self.call(
            "create_integration",
            ApiId=api,
            IntegrationType="AWS_PROXY",
            IntegrationUri=invoke_uri(),
            PayloadFormatVersion=version,
        )
        target = f"integrations/{integration['IntegrationId']}"
        self.call("create_route", ApiId=api, RouteKey=key, Target=target, **route)

    def ask(self, api: str, path: str, method: str = "GET", **parts: Any) -> HttpResponse:
        path, _, query = path.partition("?")
        parts.setdefault("headers", [HOST])

        async def ask() -> HttpResponse:
            answered: asyncio.Future[HttpResponse] = asyncio.get_running_loop().create_future()
            self.gateway.serve(HttpRequest(method, path, query, **parts), api, path, answered.set_result)
            return await answered

        return asyncio.run(ask())

    def event(self) -> Any:
        return json.loads(self.functions.invocations[-1].payload)
