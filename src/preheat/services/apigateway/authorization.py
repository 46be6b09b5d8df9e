"""Lambda authorizers at work: identity, cache, the authorizer's function, its policy.

Source: developer guide, "Use API Gateway Lambda authorizers" (TOKEN and REQUEST input, output, caching: by identity
sources, for the whole API; the policy is evaluated for every request).
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

import msgspec

from preheat.kernel.arn import parse_function
from preheat.kernel.errors import AwsError
from preheat.services.apigateway import refusals
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.expressions import LAMBDA_URI
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.models import Authorizer
from preheat.services.apigateway.policy import BadPolicy, Verdict, evaluate
from preheat.services.apigateway.refusals import Refused
from preheat.services.apigateway.variables import lookup

TIMEOUT_S = 29.0
_CACHE_MAX = 10_000


class Answer(msgspec.Struct, rename="camel"):
    """What an authorizer's function must return."""

    principal_id: str
    policy_document: dict[str, Any]
    context: dict[str, str | int | float | bool | None] = {}
    usage_identifier_key: str | None = None


class Authorization:
    def __init__(self, lambdas: Lambdas) -> None:
        self._lambdas = lambdas
        self._cache: dict[tuple[str, ...], tuple[float, Answer]] = {}

    async def check(self, call: Call) -> None:
        """Raise Refused unless the method's authorizer lets the call pass."""
        method = call.route.method
        if method.authorization_type == "NONE":
            return
        if method.authorization_type == "AWS_IAM":
            _check_signed(call)
            return
        authorizer = call.stage.deployment.authorizers.get(str(method.authorizer_id))
        if method.authorization_type != "CUSTOM" or authorizer is None:
            raise Refused(refusals.AUTHORIZER_FAILED, f"{method.authorization_type} has no usable authorizer")
        answer, spent_ms = await self.ask(call, authorizer)
        self._judge(call, answer)
        context = {name: _text(value) for name, value in answer.context.items()}
        call.usage_identifier = answer.usage_identifier_key
        call.authorized({"principalId": answer.principal_id, **context, "integrationLatency": spent_ms})

    def flush(self, api_id: str, stage: str) -> None:
        self._cache = {key: value for key, value in self._cache.items() if key[:2] != (api_id, stage)}

    async def ask(self, call: Call, authorizer: Authorizer) -> tuple[Answer, int]:
        """The authorizer's answer, cached or fresh, and the milliseconds it took."""
        identity = _identity(call, authorizer)
        ttl_s = authorizer.ttl_s
        key = (call.stage.api_id, call.stage.name, call.stage.deployment_id, authorizer.id, *identity)
        now_s = time.monotonic()
        cached = self._cache.get(key) if identity else None
        if cached is not None and cached[0] > now_s:
            return cached[1], 0
        answer = await self._invoke(call, authorizer, _event(call, authorizer, identity))
        if ttl_s and identity:
            if len(self._cache) >= _CACHE_MAX:
                self._cache.clear()
            self._cache[key] = (now_s + ttl_s, answer)
        return answer, int((time.monotonic() - now_s) * 1000)

    async def ask_anew(self, call: Call, authorizer: Authorizer) -> Answer:
        """The authorizer's own answer, whatever is cached. Raises Refused."""
        return await self._invoke(call, authorizer, _event(call, authorizer, _identity(call, authorizer)))

    async def _invoke(self, call: Call, authorizer: Authorizer, event: dict[str, Any]) -> Answer:
        match = LAMBDA_URI.fullmatch(authorizer.authorizer_uri)
        if match is None:
            raise Refused(refusals.AUTHORIZER_FAILED, f"authorizerUri {authorizer.authorizer_uri}")
        try:
            parse_function(match["function"])
            payload = json.dumps(event).encode()
            result = await self._lambdas.call(match["function"], payload, call.ids, call.request.received_ns, TIMEOUT_S)
        except (AwsError, TimeoutError, ValueError) as error:
            raise Refused(refusals.AUTHORIZER_FAILED, f"authorizer {authorizer.name}: {error}") from error
        if result.function_error is not None:
            if _message(result.payload) == "Unauthorized":
                raise Refused(refusals.UNAUTHORIZED)
            raise Refused(refusals.AUTHORIZER_FAILED, f"authorizer {authorizer.name} failed")
        try:
            return msgspec.json.decode(result.payload, type=Answer)
        except msgspec.MsgspecError as error:
            raise Refused(refusals.AUTHORIZER_FAILED, f"authorizer {authorizer.name}: {error}") from error

    def _judge(self, call: Call, answer: Answer) -> None:
        try:
            verdict = evaluate(answer.policy_document, call.method_arn)
        except BadPolicy as error:
            raise Refused(refusals.AUTHORIZER_FAILED, f"authorizer's policy: {error}") from error
        if verdict is Verdict.DENY:
            raise Refused(refusals.EXPLICIT_DENY)
        if verdict is Verdict.NEITHER:
            raise Refused(refusals.ACCESS_DENIED)


def _check_signed(call: Call) -> None:
    """With AWS_IAM a signature must be there, in the header or the query; whose it is does not matter here.

    Raise Refused: 403 as for an unknown route, which is AWS's answer to an unsigned request.
    """
    header = call.request.header("authorization") or ""
    scope = header if header.startswith("AWS4-HMAC-SHA256 ") else call.query().get("X-Amz-Credential", "")
    key = re.search(r"(?:Credential=|^)([^/,\s]+)/\d{8}/", scope)
    if key is None:
        raise Refused(refusals.MISSING_AUTHENTICATION_TOKEN, "the request is not signed")
    account = call.stage.account_id
    user = f"arn:aws:iam::{account}:root"
    call.event["requestContext"]["identity"].update(
        accessKey=key[1], accountId=account, caller=account, user=account, userArn=user
    )


def _identity(call: Call, authorizer: Authorizer) -> tuple[str, ...]:
    """The values of the identity sources; raises Refused (401) where one is absent or is no token at all."""
    sources = authorizer.identity_source if isinstance(authorizer.identity_source, str) else ""
    values = []
    for source in filter(None, (part.strip() for part in sources.split(","))):
        value = _source(call, source)
        if not value:
            raise Refused(refusals.UNAUTHORIZED)
        values.append(value)
    expression = authorizer.identity_validation_expression
    if authorizer.type == "TOKEN" and isinstance(expression, str) and not re.fullmatch(expression, values[0]):
        raise Refused(refusals.UNAUTHORIZED)
    return tuple(values)


def _source(call: Call, source: str) -> str:
    first, *steps = source.split(".")
    if first == "context":
        return str(lookup(call.context(), steps) or "")
    if first == "stageVariables":
        return (call.stage.variables or {}).get(".".join(steps), "")
    place, name = (steps[1], ".".join(steps[2:])) if len(steps) > 2 else ("", "")
    if place == "header":
        return call.request.header(name) or ""
    return call.query().get(name, "") if place == "querystring" else ""


def _event(call: Call, authorizer: Authorizer, identity: tuple[str, ...]) -> dict[str, Any]:
    if authorizer.type == "TOKEN":
        return {"type": "TOKEN", "methodArn": call.method_arn, "authorizationToken": identity[0]}
    event = {name: value for name, value in call.event.items() if name not in ("body", "isBase64Encoded")}
    return {"type": "REQUEST", "methodArn": call.method_arn, **event}


def _message(payload: bytes) -> str | None:
    try:
        return str(json.loads(payload)["errorMessage"])
    except (ValueError, KeyError, TypeError):
        return None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
