"""What an HTTP API's integration answers: a Lambda function or an HTTP server on this machine."""

from __future__ import annotations

import time
from dataclasses import replace
from urllib.parse import urlsplit, urlunsplit

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpResponse
from preheat.services.apigateway.backends import MAX_EVENT_BYTES
from preheat.services.apigateway.event import encode_event
from preheat.services.apigateway.expressions import LAMBDA_URI, STAGE_VARIABLE
from preheat.services.apigateway.http_backend import call_http, passed_headers, remapped
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.mapping import RequestMapping
from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.refusals import TIMED_OUT, Refused
from preheat.services.apigateway.responses import Malformed, NotBase64, proxy_response
from preheat.services.apigateway.v2.exchange import Exchange, Failure
from preheat.services.apigateway.v2.parameters import mapped_request, mapped_response, request_finder
from preheat.services.apigateway.v2.payload import Place, event_1_0, event_2_0, response_2_0
from preheat.services.apigateway.v2.store import Document

_ANY_BINARY = BinaryMediaTypes(["*/*"])


class HttpBackends:
    def __init__(self, lambdas: Lambdas) -> None:
        self._lambdas = lambdas

    async def answer(self, exchange: Exchange, integration: Document, place: Place) -> HttpResponse:
        """The response, with what the integration maps in both directions. Raises Failure."""
        request, path = exchange.request, exchange.path
        maps = bool(integration.get("RequestParameters") or integration.get("ResponseParameters"))
        if maps:
            find = request_finder(request, path, place.path_parameters, exchange.context())
            request, path = mapped_request(integration, request, path, find)
        if path != exchange.path:
            place = replace(place, raw_path=place.raw_path.removesuffix(exchange.path) + path)
            uri = urlunsplit(urlsplit(integration["IntegrationUri"])._replace(path=path))
            integration = {**integration, **({"IntegrationUri": uri} if uri.startswith("http") else {})}
        call = self._invoke if integration["IntegrationType"] == "AWS_PROXY" else _proxy
        began_ns = time.monotonic_ns()
        try:
            response = await call(replace(exchange, request=request, path=path), integration, place)
            return mapped_response(integration, response, find) if maps else response
        except (Malformed, NotBase64) as error:
            raise Failure(500, "Internal Server Error", f"malformed response: {error}") from error
        except Failure as failure:
            exchange.integration["error"] = str(failure)
            raise
        finally:
            exchange.integration["latency"] = (time.monotonic_ns() - began_ns) // 1_000_000

    async def _invoke(self, exchange: Exchange, integration: Document, place: Place) -> HttpResponse:
        request, ids = exchange.request, exchange.ids
        one = integration["PayloadFormatVersion"] == "1.0"
        event = encode_event((event_1_0 if one else event_2_0)(request, place, ids))
        if len(event) > MAX_EVENT_BYTES:
            raise Failure(413, "Request Entity Too Large")
        uri = _filled(integration["IntegrationUri"], place)
        match = LAMBDA_URI.fullmatch(uri)
        timeout_s = integration["TimeoutInMillis"] / 1000
        try:
            arn = match["function"] if match else uri
            result: InvokeResult = await self._lambdas.call(arn, event, ids, request.received_ns, timeout_s)
        except TimeoutError as error:
            raise Failure(503, "Service Unavailable", "the function took too long") from error
        except (AwsError, ValueError) as error:
            raise Failure(500, "Internal Server Error", str(error)) from error
        exchange.integration["status"] = exchange.integration["integrationStatus"] = 200  # of Lambda itself
        exchange.integration["requestId"] = result.request_id
        if result.function_error is not None:
            raise Failure(500, "Internal Server Error", "the function failed")
        response = proxy_response(result.payload, "*/*", _ANY_BINARY) if one else response_2_0(result.payload)
        exchange.integration["status"] = response.status
        return response


async def _proxy(exchange: Exchange, integration: Document, place: Place) -> HttpResponse:
    request = exchange.request
    mapping = RequestMapping(header=passed_headers(dict(request.headers)), path=dict(place.path_parameters))
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
    exchange.integration["status"] = exchange.integration["integrationStatus"] = answer.status
    return HttpResponse(answer.status, remapped(answer.headers), answer.body)


def _filled(uri: str, place: Place) -> str:
    return STAGE_VARIABLE.sub(lambda match: place.stage_variables.get(match[1], ""), uri)
