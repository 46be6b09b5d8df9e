"""What needs the data plane: TestInvokeMethod, TestInvokeAuthorizer and FlushStageAuthorizersCache.

A method is tested as it stands, deployed or not, without its authorizer and keys (API reference).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

import msgspec
from msgspec import UNSET

from preheat.aws.context import OperationContext
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway import errors
from preheat.services.apigateway.authorizers import AuthorizerOperations
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.methods import MethodOperations, integration_of
from preheat.services.apigateway.models import Authorizer, Deployment, Method, Resource
from preheat.services.apigateway.store import ApiState, Store
from preheat.services.apigateway.variables import java_map

STAGE = "test-invoke-stage"


class Tested(NamedTuple):
    """`log` has the execution log's lines between the request's and the response's."""

    response: HttpResponse
    request_id: str
    path_parameters: dict[str, str]
    log: list[str]


class TestedAuthorizer(NamedTuple):
    """`refusal` is the status and words for a client that the authorizer did not get to judge, else None."""

    request_id: str
    principal: str = ""
    policy: str = ""
    refusal: tuple[int, str] | None = None


class DataPlane(Protocol):
    """The data plane, as far as the control plane needs it."""

    async def test(
        self, api_id: str, deployment: Deployment, request: HttpRequest, path: str, variables: dict[str, str]
    ) -> Tested:
        """What `request` would be answered if `deployment` were live. `path` is the request's below the stage."""

    async def test_authorizer(
        self, api_id: str, authorizer: Authorizer, request: HttpRequest, variables: dict[str, str]
    ) -> TestedAuthorizer:
        """What an authorizer says to `request`, whatever it has said before."""

    def flush_authorizers(self, api_id: str, stage: str) -> None:
        """Forget what authorizers have answered for a stage."""


class TestOperations(MethodOperations, AuthorizerOperations):
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
        verb = "GET" if method.http_method == "ANY" else method.http_method
        request = _request(verb, params, resource.path)
        started_ns = time.monotonic_ns()
        deployment = _single(state, resource, method, context)
        variables = params.get("stageVariables") or {}
        tested = await self._data_plane.test(state.rest_api.id, deployment, request, request.path, variables)
        response = tested.response
        many: dict[str, list[str]] = {}
        for name, value in _visible(response.headers):
            many.setdefault(name, []).append(value)
        return {
            "status": response.status,
            "body": response.body.decode("utf-8", "replace"),
            "headers": {name: values[-1] for name, values in many.items()},
            "multiValueHeaders": many,
            "latency": _since_ms(started_ns),
            "log": _log(tested.request_id, _lines(request, tested)),
        }

    async def test_invoke_authorizer(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`clientStatus` is 0 where the authorizer answered, whatever its policy says (API reference)."""
        state, authorizer = self._authorizer(context, params)
        request = _request("GET", params, "/")
        started_ns = time.monotonic_ns()
        variables = params.get("stageVariables") or {}
        tested = await self._data_plane.test_authorizer(state.rest_api.id, authorizer, request, variables)
        lines = [f"Starting authorizer: {authorizer.id}"]
        if tested.refusal is None:
            lines += [
                f"Using valid authorizer policy for principal: {tested.principal}",
                "Successfully completed authorizer execution",
            ]
        else:
            lines.append(f"Execution failed due to authorizer error: {tested.refusal[1]}")
        answer: dict[str, Any] = {
            "clientStatus": tested.refusal[0] if tested.refusal else 0,
            "latency": _since_ms(started_ns),
            "log": _log(tested.request_id, lines),
        }
        return answer if tested.refusal else {**answer, "principalId": tested.principal, "policy": tested.policy}


def as_tested(call: Call) -> Call:
    """The call with the event of a test: only the headers given, and what AWS has in place of client and domain.

    Source: events that functions got from the console's test and that people published; they agree.
    """
    account, event = call.stage.account_id, call.event
    given: dict[str, list[str]] = {}
    for name, value in call.request.headers:
        given.setdefault(name, []).append(value)
    event["headers"] = {name: values[-1] for name, values in given.items()} or None
    event["multiValueHeaders"] = given or None
    context = event["requestContext"]
    del context["deploymentId"]
    context.update(path=call.route.resource_path, domainPrefix="testPrefix", domainName="testPrefix.testDomainName")
    root = f"arn:aws:iam::{account}:root"
    context["identity"].update(
        apiKey="test-invoke-api-key",
        apiKeyId="test-invoke-api-key-id",
        userArn=root,
        accountId=account,
        caller=account,
        user=account,
    )
    return call


def _request(verb: str, params: dict[str, Any], default_path: str) -> HttpRequest:
    path, _, query = (params.get("pathWithQueryString") or default_path).partition("?")
    headers: Headers = list((params.get("headers") or {}).items())
    for name, values in (params.get("multiValueHeaders") or {}).items():
        headers += [(name, value) for value in values]
    body = (params.get("body") or "").encode()
    return HttpRequest(verb, path, query, headers, body, "test-invoke-source-ip", time.monotonic_ns())


def _since_ms(started_ns: int) -> int:
    return (time.monotonic_ns() - started_ns) // 1_000_000


def _visible(headers: Headers) -> Headers:
    """Without the type of the gateway's own refusals, which AWS leaves out here (test_failed_invoke_test_method)."""
    if all(name != "x-amzn-ErrorType" for name, _ in headers):
        return headers
    return [(name, value) for name, value in headers if name != "Content-Type"]


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


def _lines(request: HttpRequest, tested: Tested) -> list[str]:
    """AWS's execution log (recorded: test_invoke_test_method, test_failed_invoke_test_method and
    test_apigw_test_invoke_method_api)."""
    response = tested.response
    lines = [
        f"Starting execution for request: {tested.request_id}",
        f"HTTP Method: {request.method}, Resource Path: {request.path}",
        f"Method request path: {java_map(tested.path_parameters.items())}",
        f"Method request query string: {java_map(parse_qsl(request.query, keep_blank_values=True))}",
        f"Method request headers: {java_map(request.headers)}",
        f"Method request body before transformations: {request.body.decode('utf-8', 'replace')}",
        *tested.log,
    ]
    if not any(line.startswith("Execution failed") for line in tested.log):
        lines += [
            f"Method response body after transformations: {response.body.decode('utf-8', 'replace')}",
            f"Method response headers: {java_map(response.headers)}",
            "Successfully completed execution",
        ]
    return [*lines, f"Method completed with status: {response.status}"]


def _log(request_id: str, lines: list[str]) -> str:
    now = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime())
    return f"Execution log for request {request_id}\n" + "".join(f"{now} : {line}\n" for line in lines)
