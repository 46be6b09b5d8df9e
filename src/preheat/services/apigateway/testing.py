"""What needs the data plane: TestInvokeMethod and FlushStageAuthorizersCache.

A method is tested as it stands, deployed or not, without its authorizer and keys (API reference).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET

from preheat.aws.context import OperationContext
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway import errors
from preheat.services.apigateway.methods import MethodOperations, integration_of
from preheat.services.apigateway.models import Deployment, Method, Resource
from preheat.services.apigateway.store import ApiState, Store

STAGE = "test-invoke-stage"


class Tested(NamedTuple):
    response: HttpResponse
    request_id: str
    path_parameters: dict[str, str]


class DataPlane(Protocol):
    """The data plane, as far as the control plane needs it."""

    async def test(
        self, api_id: str, deployment: Deployment, request: HttpRequest, path: str, variables: dict[str, str]
    ) -> Tested:
        """What `request` would be answered if `deployment` were live. `path` is the request's below the stage."""

    def flush_authorizers(self, api_id: str, stage: str) -> None:
        """Forget what authorizers have answered for a stage."""


class TestOperations(MethodOperations):
    __test__ = False  # not pytest's

    def __init__(self, store: Store, data_plane: DataPlane) -> None:
        super().__init__(store)
        self._data_plane = data_plane

    def flush_stage_authorizers_cache(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state = self._api(context, params)
        if params["stageName"] not in state.stages:
            raise errors.no_stage()
        self._data_plane.flush_authorizers(state.rest_api.id, params["stageName"])
        return {}

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
        tested = await self._data_plane.test(state.rest_api.id, deployment, request, path, variables)
        response = tested.response
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
            "log": _log(request, tested),
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


def _log(request: HttpRequest, tested: Tested) -> str:
    """AWS's execution log of a MOCK integration, line by line (recorded: test_invoke_test_method); the lines about
    other integrations' own requests and responses are not built."""
    now = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime())
    response = tested.response
    lines = (
        f"Starting execution for request: {tested.request_id}",
        f"HTTP Method: {request.method}, Resource Path: {request.path}",
        f"Method request path: {_java(tested.path_parameters.items())}",
        f"Method request query string: {_java(parse_qsl(request.query, keep_blank_values=True))}",
        f"Method request headers: {_java(request.headers)}",
        f"Method request body before transformations: {request.body.decode('utf-8', 'replace')}",
        f"Method response body after transformations: {response.body.decode('utf-8', 'replace')}",
        f"Method response headers: {_java(response.headers)}",
        "Successfully completed execution",
        f"Method completed with status: {response.status}",
    )
    return f"Execution log for request {tested.request_id}\n" + "".join(f"{now} : {line}\n" for line in lines)


def _java(pairs: Iterable[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{name}={value}" for name, value in pairs) + "}"
