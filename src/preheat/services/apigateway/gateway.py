"""The data plane of REST APIs: from an HTTP request to a function and back.

This is the hot path of every plain Lambda proxy: no task is made for it, only one future's callback and one timer,
and whatever depends on the deployment alone was compiled before (`stages`). All other requests go to `pipeline`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import unquote

from msgspec import UNSET

from preheat.kernel.errors import AwsError
from preheat.kernel.function import Functions, Invoker, InvokeResult, LogSink
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway import refusals
from preheat.services.apigateway.access_log import AccessLog
from preheat.services.apigateway.admission import Admission
from preheat.services.apigateway.authorization import Authorization
from preheat.services.apigateway.backends import MAX_EVENT_BYTES, Backends, proxied
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.event import proxy_event
from preheat.services.apigateway.identifiers import RequestIds, request_ids
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.models import Authorizer, Deployment, Integration, Method, Resource, Stage
from preheat.services.apigateway.pipeline import Pipeline
from preheat.services.apigateway.refusals import Refusal, Refused, custom_response, plain_response
from preheat.services.apigateway.stages import DeployedStage, Route, deployed
from preheat.services.apigateway.store import Store
from preheat.services.apigateway.testing import STAGE as TEST_STAGE
from preheat.services.apigateway.testing import Tested, TestedAuthorizer, as_tested

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
"""API Gateway quotas: payload size 10 MB."""
Respond = Callable[[HttpResponse], None]


class Target(NamedTuple):
    """A data-plane request: `path` is what follows the stage, as sent, "" or starting with a slash."""

    api_id: str
    stage: str
    path: str


class Gateway:
    """Serves what the control plane's `Store` says is deployed, through an `Invoker`."""

    def __init__(
        self,
        store: Store,
        invoker: Invoker,
        functions: Functions,
        logs: LogSink,
        account_id: str,
        region: str = "us-east-1",
    ) -> None:
        self._store = store
        self._account_id = account_id
        self._region = region
        self.lambdas = Lambdas(invoker, functions)
        self.access_log = AccessLog(logs)
        self.pipeline = Pipeline(Authorization(self.lambdas), Admission(store), Backends(self.lambdas), self.access_log)
        self._compiled: dict[tuple[str, str], DeployedStage] = {}
        self._tasks: set[asyncio.Task[None]] = set()

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
            # Slashes before the stage count as one (recorded: test_lambda_aws_proxy_integration).
            return _target(f"{host.partition('.')[0].lower()}/{path.lstrip('/')}")
        return None

    def serve(self, request: HttpRequest, target: Target, respond: Respond) -> None:
        """Answer by calling `respond` exactly once, now or from the running event loop later."""
        ids = request_ids(request.header("x-amzn-trace-id"))
        own_headers: Headers = [("x-amzn-RequestId", ids.request), ("x-amz-apigw-id", ids.extended)]
        stage = self._stage(target)
        if stage is None:
            respond(plain_response(refusals.FORBIDDEN, own_headers))
            return
        exchange = _Exchange(stage, request, own_headers, ids, respond)
        if _is_unsafe(target.path):
            exchange.fail(refusals.BAD_REQUEST)
            return
        found = stage.routes.find(target.path, request.method)
        if found is None:
            exchange.fail(refusals.MISSING_AUTHENTICATION_TOKEN)
            return
        route, path_parameters = found
        if len(request.body) > MAX_BODY_BYTES:
            exchange.fail(refusals.TOO_LARGE)
            return
        if route.plain:
            self._invoke(route, proxy_event(request, stage, route, target.path, path_parameters, ids), exchange)
            return
        call = Call(request, stage, route, target.path, path_parameters, ids, own_headers)
        task = asyncio.get_running_loop().create_task(self._pipe(call, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pipe(self, call: Call, respond: Respond) -> None:
        respond(await self.pipeline.answer(call))

    def flush_authorizers(self, api_id: str, stage: str) -> None:
        self.pipeline.authorization.flush(api_id, stage)

    async def test(
        self, api_id: str, deployment: Deployment, request: HttpRequest, path: str, variables: dict[str, str]
    ) -> Tested:
        """`testing.DataPlane`: what a snapshot of one resource answers that is not deployed."""
        ids = request_ids(None)
        compiled = self._test_stage(api_id, deployment, variables)
        found = compiled.routes.find(path, request.method)
        if found is None:  # a path that is not the resource's is tested all the same, without parameters (recorded)
            own = compiled.routes.find(deployment.resources[0].path, request.method)
            if own is None:
                raise ValueError("the snapshot does not serve its own resource")
            found = own[0], {}
        log: list[str] = []
        call = as_tested(Call(request, compiled, found[0], path, found[1], ids, [], log=log))
        response = await self.pipeline.answer(call)
        return Tested(response, ids.request, found[1], log)

    async def test_authorizer(
        self, api_id: str, authorizer: Authorizer, request: HttpRequest, variables: dict[str, str]
    ) -> TestedAuthorizer:
        """`testing.DataPlane`: what an authorizer says to a request for a route that there need not be."""
        ids = request_ids(None)
        now = datetime.now(UTC)
        mock = Integration(type="MOCK", cache_namespace="")
        method = Method(http_method="GET", authorization_type="NONE", method_integration=mock)
        resource = Resource(id="test", path="/", resource_methods={"GET": method})
        deployment = Deployment(id="test", created_date=now, resources=(resource,))
        compiled = self._test_stage(api_id, deployment, variables)
        found = compiled.routes.find("/", "GET")
        if found is None:
            raise ValueError("a snapshot of the root does not serve it")
        call = Call(request, compiled, found[0], request.path, {}, ids, [])
        try:
            answer = await self.pipeline.authorization.ask_anew(call, authorizer)
        except Refused as refused:
            return TestedAuthorizer(ids.request, refusal=(refused.refusal.status, str(refused)))
        return TestedAuthorizer(ids.request, answer.principal_id, json.dumps(answer.policy_document))

    def _test_stage(self, api_id: str, deployment: Deployment, variables: dict[str, str]) -> DeployedStage:
        stage = Stage(
            stage_name=TEST_STAGE,
            deployment_id=deployment.id,
            created_date=deployment.created_date,
            last_updated_date=deployment.created_date,
            variables=variables or UNSET,
        )
        return DeployedStage(self._account_id, api_id, stage, deployment, self._region)

    def _invoke(self, route: Route, event: bytes, exchange: _Exchange) -> None:
        """Start the invocation; its future or the timer, whichever is first, answers."""
        if route.function_arn is None:
            exchange.fail(refusals.INTERNAL_ERROR)
            return
        if len(event) > MAX_EVENT_BYTES:
            exchange.fail(refusals.TOO_LARGE)
            return
        try:
            future = self.lambdas.start(route.function_arn, event, exchange.ids, exchange.request.received_ns)
        except AwsError as error:
            logger.info("request %s: %s", exchange.ids.request, error)
            exchange.fail(refusals.INTERNAL_ERROR)
            return
        exchange.timer = asyncio.get_running_loop().call_later(route.timeout_s, exchange.time_out)
        future.add_done_callback(exchange.finish)

    def _stage(self, target: Target) -> DeployedStage | None:
        """The stage, compiled anew when the store holds another `Stage` value (a deployment, a changed variable)."""
        key = target.api_id, target.stage
        api = self._store.apis.get(target.api_id)
        stage = api.stages.get(target.stage) if api is not None else None
        if api is None or stage is None or api.rest_api.disable_execute_api_endpoint:
            self._compiled.pop(key, None)
            return None
        compiled = self._compiled.get(key)
        if compiled is None or compiled.source is not stage:
            compiled = deployed(self._account_id, target.api_id, stage, api.deployments, self._region)
            self._compiled[key] = compiled
        canary = compiled.canary
        if canary is not None and random.random() * 100 < canary.percent:
            return canary.stage
        return compiled


class _Exchange:
    """One request waiting for its function. The client is answered once; the function always runs to its end."""

    __slots__ = ("_own_headers", "_respond", "_stage", "ids", "request", "timer")

    def __init__(
        self, stage: DeployedStage, request: HttpRequest, own_headers: Headers, ids: RequestIds, respond: Respond
    ) -> None:
        self._stage = stage
        self._own_headers = own_headers
        self._respond: Respond | None = respond
        self.request = request
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
            self.fail(refusals.INTERNAL_ERROR)
            return
        try:
            response = proxied(future.result(), self.request, self._stage.binary)
        except Refused as refused:
            logger.info("request %s: %s", self.ids.request, refused)
            self.fail(refused.refusal)
            return
        response.headers += self._own_headers
        response.headers.append(("X-Amzn-Trace-Id", self.ids.trace))
        self._send(response)

    def time_out(self) -> None:
        self.fail(refusals.TIMED_OUT)

    def fail(self, refusal: Refusal) -> None:
        customs = self._stage.deployment.gateway_responses
        if not customs:
            self._send(plain_response(refusal, self._own_headers))
            return
        context = {
            "requestId": self.ids.request,
            "extendedRequestId": self.ids.extended,
            "stage": self._stage.name,
            "apiId": self._stage.api_id,
            "httpMethod": self.request.method,
            "path": self.request.path,
            "identity": {"sourceIp": self.request.client_host},
        }
        variables = self._stage.variables or {}
        self._send(custom_response(refusal, customs, self._own_headers, self.request, context, variables))

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
