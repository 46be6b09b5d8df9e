"""The data plane of HTTP APIs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.services.apigateway.access_log import AccessLog, answered
from preheat.services.apigateway.buckets import Buckets
from preheat.services.apigateway.identifiers import request_ids
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.routing import RouteTree
from preheat.services.apigateway.v2.backends import HttpBackends
from preheat.services.apigateway.v2.cors import is_preflight, preflight_response, with_cors
from preheat.services.apigateway.v2.exchange import Exchange, Failure
from preheat.services.apigateway.v2.jwt_keys import Forbidden, IssuerKeys, Unauthorized, check
from preheat.services.apigateway.v2.lambda_authorizers import LambdaAuthorizers, Unusable
from preheat.services.apigateway.v2.payload import Place
from preheat.services.apigateway.v2.store import Document, HttpApi, HttpApiStore

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 10 * 1024 * 1024
ACCOUNT_RATE, ACCOUNT_BURST = 10_000.0, 5_000
"""The account's limits, which a route has where its settings name only one of the two: API Gateway quotas."""
Respond = Callable[[HttpResponse], None]


class DeployedApi(NamedTuple):
    """A stage's routes, compiled from its deployment, or from the API as it is where it deploys by itself."""

    source: tuple[object, ...]
    tree: RouteTree[Document]
    default: Document | None
    integrations: dict[str, Document]
    authorizers: dict[str, Document]


class HttpGateway:
    def __init__(
        self,
        store: HttpApiStore,
        lambdas: Lambdas,
        access_log: AccessLog,
        account_id: str,
        region: str = "us-east-1",
    ) -> None:
        self._store = store
        self._access_log = access_log
        self._account_id = account_id
        self._region = region
        self._authorizers = LambdaAuthorizers(lambdas)
        self._backends = HttpBackends(lambdas)
        self._buckets = Buckets()
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
        exchange = Exchange(request, request_ids(request.header("x-amzn-trace-id")))
        cors = state.api.get("CorsConfiguration")
        if cors and is_preflight(request):
            response = preflight_response(request, cors)
        else:
            response = await self._answered(exchange, state, path)
            if cors:
                response = with_cors(request, response, cors)
        response.headers.append(("Apigw-Requestid", exchange.ids.extended))
        response.headers.append(("x-amzn-RequestId", exchange.ids.request))
        self._log(exchange, state, response)
        respond(response)

    async def _answered(self, exchange: Exchange, state: HttpApi, path: str) -> HttpResponse:
        """The response, the gateway's own where the request fails."""
        try:
            return await self._answer(exchange, state, path)
        except Failure as failure:
            logger.info("request %s: %d %s", exchange.ids.request, failure.status, failure)
            exchange.failure = failure
        except Exception:
            logger.exception("request %s", exchange.ids.request)
            exchange.failure = Failure(500, "Internal Server Error")
        body = b'{"message":"%s"}' % exchange.failure.message.encode()
        return HttpResponse(exchange.failure.status, [("Content-Type", "application/json")], body)

    async def _answer(self, exchange: Exchange, state: HttpApi, path: str) -> HttpResponse:
        request = exchange.request
        if len(request.body) > MAX_BODY_BYTES:
            raise Failure(413, "Request Entity Too Large")
        if state.api["DisableExecuteApiEndpoint"]:
            raise Failure(404, "Not Found", "the API's endpoint is disabled")
        stage, within = exchange.stage, exchange.path = _stage(state, path)
        deployed = self._deployed(state, stage)
        found = deployed.tree.find(within, request.method)
        route, parameters = found if found is not None else (deployed.default, {})
        place = exchange.place = Place(
            api_id=state.api["ApiId"],
            account_id=self._account_id,
            stage=stage["StageName"],
            route_key="-" if route is None else route["RouteKey"],
            raw_path=within if stage["StageName"] == "$default" else f"/{stage['StageName']}{within}",
            path_parameters=parameters,
            stage_variables=stage["StageVariables"],
        )
        if route is None:
            raise Failure(404, "Not Found")
        self._throttle(stage, place)
        if route["AuthorizationType"] != "NONE":
            authorizer = deployed.authorizers[route["AuthorizerId"]]
            place = replace(place, authorizer=await self._authorize(exchange, route, authorizer, place))
            exchange.place = place
        integration = deployed.integrations.get(route.get("Target", "").removeprefix("integrations/"))
        if integration is None:
            raise Failure(500, "Internal Server Error", "the route has no integration")
        return await self._backends.answer(exchange, integration, place)

    def _throttle(self, stage: Document, place: Place) -> None:
        """The route's own limits, else the stage's default ones, which each route has to itself (unverified).

        Source: developer guide, "Throttle requests to your HTTP APIs for better throughput".
        """
        limits = {**(stage.get("DefaultRouteSettings") or {}), **(stage["RouteSettings"].get(place.route_key) or {})}
        rate, burst = limits.get("ThrottlingRateLimit"), limits.get("ThrottlingBurstLimit")
        if rate is None and burst is None:
            return
        key = place.api_id, place.stage, place.route_key
        rate, burst = ACCOUNT_RATE if rate is None else rate, ACCOUNT_BURST if burst is None else burst
        if not self._buckets.take(key, rate, burst, time.monotonic()):
            raise Failure(429, "Too Many Requests")

    def _log(self, exchange: Exchange, state: HttpApi, response: HttpResponse) -> None:
        settings = (exchange.stage or {}).get("AccessLogSettings")
        if exchange.stage is None or not settings:
            return
        stage = f"{state.api['ApiId']}/{exchange.stage['StageName']}"
        context = {**exchange.context(), **answered(response, exchange.started_ns)}
        self._access_log.put(settings["DestinationArn"], settings["Format"], stage, context)

    async def _authorize(
        self, exchange: Exchange, route: Document, authorizer: Document, place: Place
    ) -> dict[str, Any]:
        """`$context.authorizer` of a request that may pass."""
        request = exchange.request
        try:
            if authorizer["AuthorizerType"] == "REQUEST":
                return await self._authorizers.check(request, authorizer, place, exchange.ids, self._region)
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
