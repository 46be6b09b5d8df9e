"""The data plane of HTTP APIs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from preheat.kernel.errors import AwsError
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway.backends import MAX_EVENT_BYTES
from preheat.services.apigateway.event import encode_event
from preheat.services.apigateway.expressions import LAMBDA_URI, STAGE_VARIABLE
from preheat.services.apigateway.http_backend import call_http, passed_headers, remapped
from preheat.services.apigateway.identifiers import RequestIds, request_ids
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.mapping import RequestMapping
from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.refusals import TIMED_OUT, Refused
from preheat.services.apigateway.responses import Malformed, NotBase64, proxy_response
from preheat.services.apigateway.routing import RouteTree
from preheat.services.apigateway.v2.cors import is_preflight, preflight_response, with_cors
from preheat.services.apigateway.v2.jwt_keys import Forbidden, IssuerKeys, Unauthorized, check
from preheat.services.apigateway.v2.lambda_authorizers import LambdaAuthorizers, Unusable
from preheat.services.apigateway.v2.payload import Place, event_1_0, event_2_0, response_2_0
from preheat.services.apigateway.v2.store import Document, HttpApi, HttpApiStore

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
_ANY_BINARY = BinaryMediaTypes(["*/*"])
Respond = Callable[[HttpResponse], None]


class Failure(Exception):
    """Ends a request with one of the gateway's own answers."""

    def __init__(self, status: int, message: str, why: str = "") -> None:
        super().__init__(why or message)
        self.status = status
        self.message = message


class DeployedApi(NamedTuple):
    """A stage's routes, compiled from its deployment, or from the API as it is where it deploys by itself."""

    source: tuple[object, ...]
    tree: RouteTree[Document]
    default: Document | None
    integrations: dict[str, Document]
    authorizers: dict[str, Document]


class HttpGateway:
    def __init__(self, store: HttpApiStore, lambdas: Lambdas, account_id: str, region: str = "us-east-1") -> None:
        self._store = store
        self._lambdas = lambdas
        self._account_id = account_id
        self._region = region
        self._authorizers = LambdaAuthorizers(lambdas)
        self._keys = IssuerKeys()
        self._compiled: dict[tuple[str, str], DeployedApi] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def knows(self, api_id: str) -> bool:
        return api_id in self._store.apis

    def serve(self, request: HttpRequest, api_id: str, path: str, respond: Respond) -> None:
        """Answer by calling `respond` once, later. `path` begins with the stage's name unless that is $default."""
        task = asyncio.get_running_loop().create_task(self._serve(request, self._store.apis[api_id], path, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, request: HttpRequest, state: HttpApi, path: str, respond: Respond) -> None:
        ids = request_ids(request.header("x-amzn-trace-id"))
        cors = state.api.get("CorsConfiguration")
        if cors and is_preflight(request):
            response = preflight_response(request, cors)
        else:
            try:
                response = await self._answer(request, state, path, ids)
            except Failure as failure:
                logger.info("request %s: %d %s", ids.request, failure.status, failure)
                body = b'{"message":"%s"}' % failure.message.encode()
                response = HttpResponse(failure.status, [("Content-Type", "application/json")], body)
            except Exception:
                logger.exception("request %s", ids.request)
                body = b'{"message":"Internal Server Error"}'
                response = HttpResponse(500, [("Content-Type", "application/json")], body)
            if cors:
                response = with_cors(request, response, cors)
        response.headers.append(("Apigw-Requestid", ids.extended))
        response.headers.append(("x-amzn-RequestId", ids.request))
        respond(response)

    async def _answer(self, request: HttpRequest, state: HttpApi, path: str, ids: RequestIds) -> HttpResponse:
        if len(request.body) > MAX_BODY_BYTES:
            raise Failure(413, "Request Entity Too Large")
        if state.api["DisableExecuteApiEndpoint"]:
            raise Failure(404, "Not Found", "the API's endpoint is disabled")
        stage, within = _stage(state, path)
        deployed = self._deployed(state, stage)
        found = deployed.tree.find(within, request.method)
        route, parameters = found if found is not None else (deployed.default, {})
        if route is None:
            raise Failure(404, "Not Found")
        place = Place(
            api_id=state.api["ApiId"],
            account_id=self._account_id,
            stage=stage["StageName"],
            route_key=route["RouteKey"],
            raw_path=within if stage["StageName"] == "$default" else f"/{stage['StageName']}{within}",
            path_parameters=parameters,
            stage_variables=stage["StageVariables"],
        )
        if route["AuthorizationType"] != "NONE":
            authorizer = deployed.authorizers[route["AuthorizerId"]]
            place = replace(place, authorizer=await self._authorize(request, route, authorizer, place, ids))
        integration = deployed.integrations.get(route.get("Target", "").removeprefix("integrations/"))
        if integration is None:
            raise Failure(500, "Internal Server Error", "the route has no integration")
        if integration["IntegrationType"] == "AWS_PROXY":
            return await self._invoke(request, integration, place, ids)
        return await _proxy(request, integration, place)

    async def _authorize(
        self, request: HttpRequest, route: Document, authorizer: Document, place: Place, ids: RequestIds
    ) -> dict[str, Any]:
        """`$context.authorizer` of a request that may pass."""
        try:
            if authorizer["AuthorizerType"] == "REQUEST":
                return await self._authorizers.check(request, authorizer, place, ids, self._region)
            issuer, audience = (authorizer["JwtConfiguration"][name] for name in ("Issuer", "Audience"))
            token = _token(request, authorizer["IdentitySource"])
            keys = self._keys.known(issuer)
            if keys is None:
                keys = await asyncio.to_thread(self._keys.of, issuer)
            return {"jwt": check(token, issuer, audience, route.get("AuthorizationScopes") or [], keys)}
        except Unauthorized as error:
            raise Failure(401, "Unauthorized", str(error)) from error
        except Forbidden as error:
            raise Failure(403, "Forbidden", str(error)) from error
        except Unusable as error:
            raise Failure(500, "Internal Server Error", f"authorizer {authorizer['Name']}: {error}") from error

    async def _invoke(self, request: HttpRequest, integration: Document, place: Place, ids: RequestIds) -> HttpResponse:
        one = integration["PayloadFormatVersion"] == "1.0"
        event = encode_event((event_1_0 if one else event_2_0)(request, place, ids))
        if len(event) > MAX_EVENT_BYTES:
            raise Failure(413, "Request Entity Too Large")
        uri = _filled(integration["IntegrationUri"], place)
        match = LAMBDA_URI.fullmatch(uri)
        timeout_s = integration["TimeoutInMillis"] / 1000
        try:
            arn = match["function"] if match else uri
            result = await self._lambdas.call(arn, event, ids, request.received_ns, timeout_s)
        except TimeoutError as error:
            raise Failure(503, "Service Unavailable", "the function took too long") from error
        except (AwsError, ValueError) as error:
            raise Failure(500, "Internal Server Error", str(error)) from error
        if result.function_error is not None:
            raise Failure(500, "Internal Server Error", "the function failed")
        try:
            return proxy_response(result.payload, "*/*", _ANY_BINARY) if one else response_2_0(result.payload)
        except (Malformed, NotBase64) as error:
            raise Failure(500, "Internal Server Error", f"malformed response: {error}") from error

    def _deployed(self, state: HttpApi, stage: Document) -> DeployedApi:
        """Compiled anew when the stage or, with automatic deployment, anything of the API has changed."""
        key = state.api["ApiId"], stage["StageName"]
        source: tuple[object, ...] = (id(state), state.changes)
        compiled = self._compiled.get(key)
        if compiled is None or compiled.source != source:
            if not stage["AutoDeploy"] and not stage.get("DeploymentId"):
                raise Failure(404, "Not Found", "the stage has no deployment")
            frozen = state.snapshot() if stage["AutoDeploy"] else state.deployments[stage["DeploymentId"]]["_snapshot"]
            compiled = self._compiled[key] = _compiled(source, frozen)
        return compiled


def _compiled(source: tuple[object, ...], frozen: Document) -> DeployedApi:
    routes: list[Document] = list(frozen["routes"].values())
    keyed = [(route["RouteKey"].partition(" "), route) for route in routes if route["RouteKey"] != "$default"]
    return DeployedApi(
        source,
        RouteTree((path, method, route) for (method, _, path), route in keyed),
        next((route for route in routes if route["RouteKey"] == "$default"), None),
        frozen["integrations"],
        frozen["authorizers"],
    )


def _stage(state: HttpApi, path: str) -> tuple[Document, str]:
    """(stage, path below it): the stage that the first part names, else $default with the whole path."""
    name, slash, rest = path.lstrip("/").partition("/")
    if name in state.stages:
        return state.stages[name], slash + rest or "/"
    if "$default" in state.stages:
        return state.stages["$default"], path or "/"
    raise Failure(404, "Not Found", "no such stage")


def _token(request: HttpRequest, sources: list[str]) -> str:
    """The bearer token at the first identity source that has one."""
    for source in sources:
        place, _, name = source.removeprefix("$request.").partition(".")
        value = request.header(name) if place == "header" else parse_qs(request.query).get(name, [None])[0]
        if value:
            return value.removeprefix("Bearer ")
    raise Unauthorized("no token")


async def _proxy(request: HttpRequest, integration: Document, place: Place) -> HttpResponse:
    headers: Headers = request.headers
    mapping = RequestMapping(header=passed_headers(dict(headers)), path=dict(place.path_parameters))
    uri = _filled(integration["IntegrationUri"], place)
    if request.query:
        uri += ("&" if "?" in uri else "?") + request.query
    method = integration["IntegrationMethod"]
    try:
        timeout_s = integration["TimeoutInMillis"] / 1000
        method = request.method if method == "ANY" else method
        answer = await call_http(uri, method, mapping, request.body, timeout_s)
    except Refused as refused:
        if refused.refusal is TIMED_OUT:
            raise Failure(503, "Service Unavailable", str(refused)) from refused
        raise Failure(500, "Internal Server Error", str(refused)) from refused
    return HttpResponse(answer.status, remapped(answer.headers), answer.body)


def _filled(uri: str, place: Place) -> str:
    return STAGE_VARIABLE.sub(lambda match: place.stage_variables.get(match[1], ""), uri)
