"""From a guarded, validated call to its integration's answer: one function for each kind of integration."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Mapping

import msgspec

from preheat.kernel.errors import AwsError
from preheat.kernel.function import InvokeResult
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway import refusals
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.event import encode_event
from preheat.services.apigateway.expressions import STAGE_VARIABLE
from preheat.services.apigateway.http_backend import call_http, passed_headers, remapped
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.mapping import RequestMapping, map_request
from preheat.services.apigateway.media import BinaryMediaTypes
from preheat.services.apigateway.refusals import Refused
from preheat.services.apigateway.responses import Malformed, NotBase64, proxy_response
from preheat.services.apigateway.stages import refused_header
from preheat.services.apigateway.translate import BackendResponse, lambda_selector, request_body, response
from preheat.services.apigateway.variables import java_map

logger = logging.getLogger(__name__)

MAX_EVENT_BYTES = 6_291_456
"""Lambda's limit for a synchronous payload (fidelity sheet, Invoke API): a larger event is a 413, too."""


class Backends:
    def __init__(self, lambdas: Lambdas) -> None:
        self._lambdas = lambdas

    async def answer(self, call: Call) -> HttpResponse:
        """The client's response, without the gateway's own headers. Raises Refused."""
        integration = call.route.integration
        if (name := refused_header(integration)) is not None:
            raise Refused(refusals.INTERNAL_ERROR, f"the integration maps the header {name}, which it must not")
        started_ns = time.monotonic_ns()
        try:
            match integration.type:
                case "AWS_PROXY":
                    return await self._lambda_proxy(call)
                case "AWS":
                    return await self._lambda(call)
                case "MOCK":
                    return self._mock(call)
                case "HTTP_PROXY":
                    return await self._http_proxy(call)
                case _:
                    return await self._http(call)
        except Refused as refused:
            call.integration_error = str(refused)
            raise
        finally:
            call.integration_ms = (time.monotonic_ns() - started_ns) // 1_000_000

    async def _lambda_proxy(self, call: Call) -> HttpResponse:
        result = await self._invoke(call, encode_event(call.event))
        answer = proxied(result, call.request, call.stage.binary)
        call.integration_status = answer.status
        answer.headers.append(("X-Amzn-Trace-Id", call.ids.trace))
        return answer

    async def _lambda(self, call: Call) -> HttpResponse:
        """The function's event is the template's text (or the body); its answer passes the response mapping."""
        payload = request_body(call)
        integration = call.route.integration
        parameters = integration.request_parameters if isinstance(integration.request_parameters, dict) else {}
        headers = {name.lower(): value for name, value in map_request(call, parameters).header.items()}
        answer = await self._lambda_answer(call, payload, headers.get("x-amz-invocation-type") == "Event")
        call.integration_status = answer.status
        result = response(call, answer)
        result.headers.append(("X-Amzn-Trace-Id", call.ids.trace))
        return result

    async def _lambda_answer(self, call: Call, payload: bytes, fire_and_forget: bool) -> BackendResponse:
        """What Lambda's Invoke would answer, its errors included: they pass the response mapping like anything else."""
        try:
            json.loads(payload or b"{}")
        except ValueError as error:
            message = f"Could not parse request body into json: {error}"
            return _lambda_error(AwsError("InvalidRequestContentException", message))
        try:
            if fire_and_forget:
                self._lambdas.send(_usable(call, payload), payload or b"{}", call.ids)
                return BackendResponse(202, [], b"", "202")
            result = await self._invoke(call, payload, refuse=False)
        except AwsError as error:
            return _lambda_error(error)
        return BackendResponse(
            200, [("Content-Type", "application/json")], result.payload, lambda_selector(result.payload)
        )

    def _mock(self, call: Call) -> HttpResponse:
        """The request template yields `{"statusCode": N}`, which selects the integration response."""
        status = _mock_status(request_body(call))
        call.integration_status = status
        return response(call, BackendResponse(status, [], b"", str(status)))

    async def _http(self, call: Call) -> HttpResponse:
        integration = call.route.integration
        body = request_body(call)
        parameters = integration.request_parameters if isinstance(integration.request_parameters, dict) else {}
        mapping = map_request(call, parameters)
        own = {"Accept": "application/json", "User-Agent": f"AmazonAPIGateway_{call.stage.api_id}"}
        if body:
            own["Content-Type"] = call.request.header("content-type") or "application/json"
        mapping.header = {**own, **_identification(call), **mapping.header}
        answer = await self._call_http(call, mapping, body)
        result = response(call, answer)
        result.headers.append(("X-Amzn-Trace-Id", call.ids.trace))
        return result

    async def _call_http(self, call: Call, mapping: RequestMapping, body: bytes) -> BackendResponse:
        started_ns = _note_request(call, _uri(call), mapping.header, body)
        answer = await call_http(_uri(call), _method(call), mapping, body, call.route.timeout_s)
        call.integration_status = answer.status
        _note_response(call, answer, started_ns)
        return answer

    async def _http_proxy(self, call: Call) -> HttpResponse:
        """Method, headers, query and body go through; the answer comes back as it is."""
        integration = call.route.integration
        parameters = integration.request_parameters if isinstance(integration.request_parameters, dict) else {}
        mapping = map_request(call, parameters)
        given = passed_headers(call.headers()).items()  # but one (recorded: test_apigateway_header_remapping_http)
        passed = {name: value for name, value in given if name.lower() != "content-encoding"}
        mapping.header = {**passed, **_identification(call), **mapping.header}
        mapping.querystring = {**(call.event["multiValueQueryStringParameters"] or {}), **mapping.querystring}
        answer = await self._call_http(call, mapping, call.request.body)
        return HttpResponse(answer.status, remapped(answer.headers), answer.body)

    async def _invoke(self, call: Call, payload: bytes, *, refuse: bool = True) -> InvokeResult:
        """Raises Refused; with `refuse` False, AwsError for what Lambda itself refuses."""
        route = call.route
        arn = _usable(call, payload)
        started_ns = _note_request(call, _lambda_endpoint(call, arn), _LAMBDA_HEADERS, payload)
        try:
            event = payload or b"{}"  # an empty one is logged as it is (recorded: test_apigw_test_invoke_method_api)
            result = await self._lambdas.call(arn, event, call.ids, call.request.received_ns, route.timeout_s)
        except TimeoutError as error:
            raise Refused(refusals.TIMED_OUT) from error
        except AwsError as error:
            if not refuse:
                raise
            raise Refused(refusals.INTERNAL_ERROR, str(error)) from error
        call.integration_status = call.service_status = 200
        call.integration_request_id = result.request_id
        headers: Headers = [("Content-Type", "application/json"), ("X-Amz-Executed-Version", result.executed_version)]
        _note_response(call, BackendResponse(200, headers, result.payload, ""), started_ns)
        return result


_LAMBDA_HEADERS = {"Accept": "application/json"}


def _lambda_endpoint(call: Call, arn: str) -> str:
    return f"https://lambda.{call.stage.region}.amazonaws.com/2015-03-31/functions/{arn}/invocations"


def _note_request(call: Call, uri: str, headers: Mapping[str, str], body: bytes) -> int:
    """The execution log's lines on an integration's request (recorded: test_apigw_test_invoke_method_api); the time."""
    call.note(f"Endpoint request URI: {uri}")
    call.note(f"Endpoint request headers: {java_map({**_identification(call), **headers}.items())}")
    call.note(f"Endpoint request body after transformations: {body.decode('utf-8', 'replace')}")
    call.note(f"Sending request to {uri}")
    return time.monotonic_ns()


def _note_response(call: Call, answer: BackendResponse, started_ns: int) -> None:
    latency_ms = (time.monotonic_ns() - started_ns) // 1_000_000
    call.note(f"Received response. Status: {answer.status}, Integration latency: {latency_ms} ms")
    call.note(f"Endpoint response headers: {java_map(answer.headers)}")
    call.note(f"Endpoint response body before transformations: {answer.body.decode('utf-8', 'replace')}")


_LOOSE_STATUS = re.compile(rb"""(?:^\{|,)\s*(["']?)statusCode\1\s*:\s*(\d{1,9})\s*[,}]""")
"""AWS's parser is lenient: names without quotation marks or with single ones, commas too many. The CDK's mocks say
`{ statusCode: 200 }` (recorded: test_integration_mock_with_path_param; localstack's test_mock_integration)."""
_MAX_TEMPLATE_BYTES = 300 * 1024
"""What is larger is a client's body, which nobody should have to wait for (quota: size of a mapping template)."""


class _Selected(msgspec.Struct):
    statusCode: int


def _mock_status(document: bytes) -> int:
    """The statusCode that a mock's template names, a number. Raises Refused (500)."""
    try:
        return msgspec.json.decode(document, type=_Selected).statusCode
    except msgspec.MsgspecError as error:
        loose = _LOOSE_STATUS.search(document.strip()) if len(document) <= _MAX_TEMPLATE_BYTES else None
        if loose is None or not document.rstrip().endswith(b"}"):
            raise Refused(refusals.INTERNAL_ERROR, f"the mock's template: {error}") from error
        return int(loose[2])


def proxied(result: InvokeResult, request: HttpRequest, binary: BinaryMediaTypes) -> HttpResponse:
    """The response that a proxy function's answer stands for. Raises Refused."""
    if result.function_error is not None:
        raise Refused(refusals.BAD_GATEWAY, "the function failed")
    try:
        return proxy_response(result.payload, request.header("accept"), binary)
    except Malformed as error:
        raise Refused(refusals.BAD_GATEWAY, f"malformed Lambda proxy response: {error}") from error
    except NotBase64 as error:
        raise Refused(refusals.INTERNAL_ERROR, str(error)) from error


def _usable(call: Call, payload: bytes) -> str:
    if call.route.function_arn is None:
        raise Refused(refusals.INTERNAL_ERROR, "the integration names no usable function")
    if len(payload) > MAX_EVENT_BYTES:
        raise Refused(refusals.TOO_LARGE)
    return call.route.function_arn


def _lambda_error(error: AwsError) -> BackendResponse:
    body = msgspec.json.encode({**error.fields, "Type": error.fault, "message": error.message})
    return BackendResponse(error.status, [("x-amzn-ErrorType", error.code)], body, str(error.status))


def _identification(call: Call) -> dict[str, str]:
    """What an HTTP endpoint learns of the gateway (recorded: test_http_integration_with_lambda)."""
    return {"x-amzn-apigateway-api-id": call.stage.api_id, "X-Amzn-Trace-Id": call.ids.trace_header}


def _uri(call: Call) -> str:
    uri = call.route.integration.uri
    variables = call.stage.variables or {}
    return STAGE_VARIABLE.sub(lambda name: variables.get(name[1], ""), uri) if isinstance(uri, str) else ""


def _method(call: Call) -> str:
    """The integration's own method; ANY's is the client's."""
    method = call.route.integration.http_method
    return call.request.method if not isinstance(method, str) or method == "ANY" else method
