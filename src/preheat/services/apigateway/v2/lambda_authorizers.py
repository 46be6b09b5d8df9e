"""Lambda authorizers of HTTP APIs: format 2.0 and 1.0 events, simple responses and IAM policies.

Source: developer guide, "Control access to HTTP APIs with AWS Lambda authorizers".
"""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import parse_qs

from preheat.kernel.errors import AwsError
from preheat.kernel.http import HttpRequest
from preheat.services.apigateway.event import encode_event
from preheat.services.apigateway.expressions import LAMBDA_URI
from preheat.services.apigateway.identifiers import RequestIds
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.policy import BadPolicy, Verdict, evaluate
from preheat.services.apigateway.v2.jwt_keys import Forbidden, Unauthorized
from preheat.services.apigateway.v2.payload import Place, event_1_0, event_2_0
from preheat.services.apigateway.v2.store import Document

_TIMEOUT_S = 10.0
"""HTTP API quotas: a Lambda authorizer has 10,000 ms."""
_CACHE_MAX = 10_000


class Unusable(Exception):
    """The authorizer itself failed: 500."""


class LambdaAuthorizers:
    def __init__(self, lambdas: Lambdas) -> None:
        self._lambdas = lambdas
        self._cache: dict[tuple[str, ...], tuple[float, Any]] = {}

    async def check(
        self, request: HttpRequest, authorizer: Document, place: Place, ids: RequestIds, region: str
    ) -> dict[str, Any]:
        """`$context.authorizer`. Raises Unauthorized, Forbidden and Unusable."""
        identity = [_source(request, place, source) for source in authorizer.get("IdentitySource") or []]
        path = place.raw_path.lstrip("/")
        stage = "" if place.stage == "$default" else f"{place.stage}/"
        where = f"{place.api_id}/{place.stage}/{request.method}/{path.removeprefix(stage)}"
        arn = f"arn:aws:execute-api:{region}:{place.account_id}:{where}"
        key = (place.api_id, place.stage, authorizer["AuthorizerId"], place.route_key, *identity)
        ttl_s = (authorizer.get("AuthorizerResultTtlInSeconds") or 0) if identity else 0
        cached = self._cache.get(key) if ttl_s else None
        if cached is not None and cached[0] > time.monotonic():
            answer = cached[1]
        else:
            answer = await self._ask(_event(request, authorizer, place, ids, arn, identity), authorizer, request, ids)
            if ttl_s:
                if len(self._cache) >= _CACHE_MAX:
                    self._cache.clear()
                self._cache[key] = (time.monotonic() + ttl_s, answer)
        return {"lambda": _judged(answer, authorizer, arn)}

    async def _ask(self, event: Document, authorizer: Document, request: HttpRequest, ids: RequestIds) -> Any:
        match = LAMBDA_URI.fullmatch(authorizer["AuthorizerUri"])
        arn = match["function"] if match else authorizer["AuthorizerUri"]
        try:
            result = await self._lambdas.call(arn, encode_event(event), ids, request.received_ns, _TIMEOUT_S)
        except (AwsError, TimeoutError, ValueError) as error:
            raise Unusable(str(error)) from error
        if result.function_error is not None:
            raise Unusable("the authorizer's function failed")
        return json.loads(result.payload)


def _source(request: HttpRequest, place: Place, source: str) -> str:
    """The value of `$request.header.X`, `$request.querystring.X` or `$stageVariables.X`.

    Raises Unauthorized where there is none.
    """
    first, _, rest = source.removeprefix("$").partition(".")
    value: str | None = None
    if first == "stageVariables":
        value = place.stage_variables.get(rest)
    elif first == "request":
        kind, _, name = rest.partition(".")
        value = request.header(name) if kind == "header" else parse_qs(request.query).get(name, [None])[0]
    if not value:
        raise Unauthorized(f"no {source}")
    return value


def _event(
    request: HttpRequest, authorizer: Document, place: Place, ids: RequestIds, arn: str, identity: list[str]
) -> Document:
    if authorizer["AuthorizerPayloadFormatVersion"] == "1.0":
        event = {"type": "REQUEST", "methodArn": arn, **event_1_0(request, place, ids)}
        event["identitySource"] = ",".join(identity)
    else:
        event = {"type": "REQUEST", "routeArn": arn, "identitySource": identity, **event_2_0(request, place, ids)}
    return {name: value for name, value in event.items() if name not in ("body", "isBase64Encoded")}


def _judged(answer: Any, authorizer: Document, arn: str) -> dict[str, Any]:
    """The answer's context, where it allows the request."""
    if not isinstance(answer, dict):
        raise Unusable("the authorizer's answer is no object")
    if authorizer.get("EnableSimpleResponses"):
        if not isinstance(answer.get("isAuthorized"), bool):
            raise Unusable("isAuthorized is missing")
        allowed = answer["isAuthorized"]
    else:
        try:
            allowed = evaluate(answer.get("policyDocument"), arn) is Verdict.ALLOW
        except BadPolicy as error:
            raise Unusable(str(error)) from error
    if not allowed:
        raise Forbidden("the authorizer refuses")
    context = answer.get("context") or {}
    if not isinstance(context, dict):
        raise Unusable("context is no object")
    return context
