"""TestInvokeMethod: a method as it stands, deployed or not, without its authorizer and keys (API reference)."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from msgspec import UNSET

from preheat.aws.context import OperationContext
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway.methods import MethodOperations, integration_of
from preheat.services.apigateway.models import Deployment, Method, Resource
from preheat.services.apigateway.store import ApiState, Store

STAGE = "test-invoke-stage"


class MethodTester(Protocol):
    """The data plane, as far as a test needs it."""

    async def test(
        self, api_id: str, deployment: Deployment, request: HttpRequest, path: str, variables: dict[str, str]
    ) -> HttpResponse:
        """What `request` would be answered if `deployment` were live. `path` is the request's below the stage."""


class TestOperations(MethodOperations):
    __test__ = False  # not pytest's

    def __init__(self, store: Store, tester: MethodTester) -> None:
        super().__init__(store)
        self._tester = tester

    async def test_invoke_method(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource, method = self._method(params)
        integration_of(method)
        path, _, query = (params.get("pathWithQueryString") or resource.path).partition("?")
        verb = "GET" if method.http_method == "ANY" else method.http_method
        request = HttpRequest(
            verb,
            path,
            query,
            _headers(params),
            (params.get("body") or "").encode(),
            "test-invoke-source-ip",
            time.monotonic_ns(),
        )
        started_ns = time.monotonic_ns()
        deployment = _single(state, resource, method, context)
        variables = params.get("stageVariables") or {}
        response = await self._tester.test(state.rest_api.id, deployment, request, path, variables)
        latency_ms = (time.monotonic_ns() - started_ns) // 1_000_000
        many: dict[str, list[str]] = {}
        for name, value in response.headers:
            many.setdefault(name, []).append(value)
        return {
            "status": response.status,
            "body": response.body.decode("utf-8", "replace"),
            "headers": {name: values[-1] for name, values in many.items()},
            "multiValueHeaders": many,
            "latency": latency_ms,
            "log": _log(request, response, many.get("x-amzn-RequestId", [""])[0], latency_ms),
        }


def _headers(params: dict[str, Any]) -> Headers:
    headers: Headers = list((params.get("headers") or {}).items())
    for name, values in (params.get("multiValueHeaders") or {}).items():
        headers += [(name, value) for value in values]
    return headers


def _single(state: ApiState, resource: Resource, method: Method, context: OperationContext) -> Deployment:
    """A snapshot with this one method, open to all."""
    bare = msgspec.structs.replace(method, authorization_type="NONE", authorizer_id=UNSET, api_key_required=False)
    only = msgspec.structs.replace(resource, resource_methods={method.http_method: bare})
    binary = state.rest_api.binary_media_types
    return Deployment(
        id=context.request_id,
        created_date=datetime.now(UTC),
        resources=(only,),
        binary_media_types=binary if isinstance(binary, list) else [],
        models={model.name: model.schema for model in state.models.values()},
        validators=dict(state.validators),
        gateway_responses=dict(state.gateway_responses),
    )


def _log(request: HttpRequest, response: HttpResponse, request_id: str, latency_ms: int) -> str:
    """The lines of AWS's execution log that need no more than request and response."""
    body = response.body.decode("utf-8", "replace")
    lines = [
        f"Execution log for request {request_id}",
        f"HTTP Method: {request.method}, Resource Path: {request.path}",
        f"Method request query string: {request.query}",
        f"Method request body before transformations: {request.body.decode('utf-8', 'replace')}",
        f"Method response body after transformations: {body}",
        f"Method completed with status: {response.status} in {latency_ms} ms",
    ]
    return "\n".join(lines) + "\n"
