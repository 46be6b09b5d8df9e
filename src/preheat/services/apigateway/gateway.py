"""The data plane of REST APIs: from an HTTP request to a function and back.

This is the hot path of every request to a deployed API: no task is made for it, only one future's callback and one
timer, and whatever depends on the deployment alone was compiled before (`stages`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import unquote

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionDirectory, Invocation, Invoker, InvokeResult
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway import responses
from preheat.services.apigateway.event import proxy_event
from preheat.services.apigateway.identifiers import RequestIds, request_ids, uuid4
from preheat.services.apigateway.mock import mock_response
from preheat.services.apigateway.responses import (
    GatewayResponse,
    Malformed,
    NotBase64,
    gateway_response,
    proxy_response,
)
from preheat.services.apigateway.stages import DeployedStage, Route
from preheat.services.apigateway.store import Store

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
"""API Gateway quotas: payload size 10 MB."""
MAX_EVENT_BYTES = 6_291_456
"""Lambda's limit for a synchronous payload (fidelity sheet, Invoke API): a larger event is a 413, too."""

Respond = Callable[[HttpResponse], None]


class Target(NamedTuple):
    """A data-plane request: `path` is what follows the stage, as sent, "" or starting with a slash."""

    api_id: str
    stage: str
    path: str


class Gateway:
    """Serves what the control plane's `Store` says is deployed, through an `Invoker`."""

    def __init__(self, store: Store, invoker: Invoker, functions: FunctionDirectory, account_id: str) -> None:
        self._store = store
        self._invoker = invoker
        self._functions = functions
        self._account_id = account_id
        self._compiled: dict[tuple[str, str], DeployedStage] = {}

    def match(self, request: HttpRequest) -> Target | None:
        """Is it for a deployed API? By host `{id}.execute-api.<anything>`, or by one of the two path forms."""
        path = request.path
        if path.startswith("/restapis/"):
            parts = path.split("/", 5)
            if len(parts) >= 5 and parts[4] == "_user_request_":
                return Target(parts[2], parts[3], f"/{parts[5]}" if len(parts) > 5 else "")
        elif path.startswith("/_aws/execute-api/"):
            return _target(path[len("/_aws/execute-api/") :])
        host = request.header("host")
        if host is not None and ".execute-api." in host:
            return _target(f"{host.partition('.')[0].lower()}{path}")
        return None

    def serve(self, request: HttpRequest, target: Target, respond: Respond) -> None:
        """Answer by calling `respond` exactly once, now or from the running event loop later."""
        ids = request_ids(request.header("x-amzn-trace-id"))
        own_headers: Headers = [("x-amzn-RequestId", ids.request), ("x-amz-apigw-id", ids.extended)]
        stage = self._stage(target)
        if stage is None:
            respond(gateway_response(responses.FORBIDDEN, own_headers))
            return
        if _is_unsafe(target.path):
            respond(gateway_response(responses.BAD_REQUEST, own_headers))
            return
        found = stage.routes.find(target.path, request.method)
        if found is None:
            respond(gateway_response(responses.MISSING_AUTHENTICATION_TOKEN, own_headers))
            return
        route, path_parameters = found
        if len(request.body) > MAX_BODY_BYTES:
            respond(gateway_response(responses.TOO_LARGE, own_headers))
            return
        if route.integration.type == "MOCK":
            respond(_with_own(mock_response(route.integration, request), own_headers))
            return
        event = proxy_event(request, stage, route, target.path, path_parameters, ids)
        exchange = _Exchange(stage, request.header("accept"), own_headers, ids, respond)
        self._invoke(request, route, event, exchange)

    def _invoke(self, request: HttpRequest, route: Route, event: bytes, exchange: _Exchange) -> None:
        """Start the invocation; its future or the timer, whichever is first, answers."""
        if route.function_arn is None:
            exchange.fail(responses.INTERNAL_ERROR)
            return
        if len(event) > MAX_EVENT_BYTES:
            exchange.fail(responses.TOO_LARGE)
            return
        try:
            function = self._functions.resolve(route.function_arn)
            invocation = Invocation(
                request_id=uuid4(),
                payload=event,
                received_ns=request.received_ns,
                invoked_arn=route.function_arn,
                trace_id=exchange.ids.trace,
                gateway_request_id=exchange.ids.request,
            )
            future = self._invoker.invoke(function, invocation)
        except AwsError as error:
            logger.info("request %s: %s", exchange.ids.request, error)
            exchange.fail(responses.INTERNAL_ERROR)
            return
        exchange.timer = asyncio.get_running_loop().call_later(route.timeout_s, exchange.time_out)
        future.add_done_callback(exchange.finish)

    def _stage(self, target: Target) -> DeployedStage | None:
        """The stage, compiled anew when the store holds another `Stage` value (a deployment, a changed variable)."""
        key = target.api_id, target.stage
        api = self._store.apis.get(target.api_id)
        stage = api.stages.get(target.stage) if api is not None else None
        if api is None or stage is None:
            self._compiled.pop(key, None)
            return None
        compiled = self._compiled.get(key)
        if compiled is None or compiled.source is not stage:
            deployment = api.deployments[stage.deployment_id]
            compiled = DeployedStage(self._account_id, target.api_id, stage, deployment)
            self._compiled[key] = compiled
        return compiled


class _Exchange:
    """One request waiting for its function. The client is answered once; the function always runs to its end."""

    __slots__ = ("_accept", "_own_headers", "_respond", "_stage", "ids", "timer")

    def __init__(
        self, stage: DeployedStage, accept: str | None, own_headers: Headers, ids: RequestIds, respond: Respond
    ) -> None:
        self._stage = stage
        self._accept = accept
        self._own_headers = own_headers
        self._respond: Respond | None = respond
        self.ids = ids
        self.timer: asyncio.TimerHandle | None = None

    def finish(self, future: asyncio.Future[InvokeResult]) -> None:
        """The invocation is over. Also called after a time-out, when only the future's error must be taken note of."""
        if self.timer is not None:
            self.timer.cancel()
        error = None if future.cancelled() else future.exception()
        if error is not None and not isinstance(error, AwsError):
            logger.error("request %s", self.ids.request, exc_info=error)
        if self._respond is None:
            return
        if error is not None or future.cancelled():
            self.fail(responses.INTERNAL_ERROR)
            return
        self._answer(future.result())

    def time_out(self) -> None:
        self.fail(responses.TIMED_OUT)

    def fail(self, kind: GatewayResponse) -> None:
        self._send(gateway_response(kind, self._own_headers))

    def _answer(self, result: InvokeResult) -> None:
        if result.function_error is not None:
            self.fail(responses.BAD_GATEWAY)
            return
        try:
            response = proxy_response(result.payload, self._accept, self._stage.binary)
        except Malformed as error:
            logger.info("request %s: malformed Lambda proxy response: %s", self.ids.request, error)
            self.fail(responses.BAD_GATEWAY)
            return
        except NotBase64 as error:
            logger.info("request %s: %s", self.ids.request, error)
            self.fail(responses.INTERNAL_ERROR)
            return
        response.headers += self._own_headers
        response.headers.append(("X-Amzn-Trace-Id", self.ids.trace))
        self._send(response)

    def _send(self, response: HttpResponse) -> None:
        respond, self._respond = self._respond, None
        if respond is not None:
            respond(response)


def _target(path: str) -> Target | None:
    """`{api}/{stage}/{path}`; without a stage nothing can match, which the empty name says."""
    parts = path.split("/", 2)
    if not parts[0]:
        return None
    return Target(parts[0], parts[1] if len(parts) > 1 else "", f"/{parts[2]}" if len(parts) > 2 else "")


def _is_unsafe(path: str) -> bool:
    """A NUL byte or a dot segment, however encoded, is refused before any routing (fidelity sheet, fault 12)."""
    if "%" not in path and "/." not in path:
        return False
    decoded = unquote(path)
    return "\x00" in decoded or any(part in (".", "..") for part in decoded.split("/"))


def _with_own(answer: HttpResponse | GatewayResponse, own_headers: Headers) -> HttpResponse:
    if isinstance(answer, GatewayResponse):
        return gateway_response(answer, own_headers)
    answer.headers += own_headers
    return answer
