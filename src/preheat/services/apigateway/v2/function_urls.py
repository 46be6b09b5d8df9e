"""The data plane of function URLs: `<url id>.lambda-url.<region>.<domain>`, or `/_aws/lambda-url/<url id>/<path>`.

Source: Lambda developer guide, "Creating and managing Lambda function URLs"; RESPONSE_STREAM mode is `url_streams`.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionUrl, InvokeResult, UrlDirectory
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.kernel.stream import ResponseStream
from preheat.services.apigateway.backends import MAX_EVENT_BYTES
from preheat.services.apigateway.event import encode_event
from preheat.services.apigateway.identifiers import RequestIds, request_ids
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.responses import Malformed
from preheat.services.apigateway.v2 import url_streams
from preheat.services.apigateway.v2.cors import is_preflight, preflight_response, with_cors
from preheat.services.apigateway.v2.payload import Place, event_2_0, response_2_0

logger = logging.getLogger(__name__)

_PATH_FORM = "/_aws/lambda-url/"
Respond = Callable[[HttpResponse], None]


class UrlTarget(NamedTuple):
    url_id: str
    path: str


class FunctionUrls:
    def __init__(self, urls: UrlDirectory, lambdas: Lambdas) -> None:
        self._urls = urls
        self._lambdas = lambdas

    def match(self, request: HttpRequest) -> UrlTarget | None:
        """Is it for a function URL, by its host or by the path form?"""
        if request.path.startswith(_PATH_FORM):
            url_id, _, path = request.path[len(_PATH_FORM) :].partition("/")
            return UrlTarget(url_id, f"/{path}")
        host = request.header("host") or ""
        if ".lambda-url." in host:
            return UrlTarget(host.partition(".")[0].lower(), request.path)
        return None

    def serve(self, request: HttpRequest, target: UrlTarget, respond: Respond) -> None:
        """Answer by calling `respond` exactly once, now or later."""
        ids = request_ids(request.header("x-amzn-trace-id"))
        own_headers: Headers = [("x-amzn-RequestId", ids.request), ("X-Amzn-Trace-Id", ids.trace)]

        def answer(response: HttpResponse) -> None:
            response.headers += own_headers
            respond(response if url is None or url.cors is None else with_cors(request, response, url.cors))

        url: FunctionUrl | None = None
        try:
            found = self._urls.lookup_url(target.url_id)
            url = found[1] if found is not None else None
            if url is None or not _authorised(request, url):
                answer(_error(403, "AccessDeniedException", "Forbidden" if url else None))  # recorded on AWS
                return
            if url.cors is not None and is_preflight(request):
                respond(preflight_response(request, url.cors))
                return
            place = Place(target.url_id, "anonymous", "$default", "$default", "/" + target.path.lstrip("/"))
            event = encode_event(_event(request, place, ids))
            if len(event) > MAX_EVENT_BYTES:
                answer(_error(413, "RequestEntityTooLargeException", "Request Entity Too Large"))
                return
            stream = ResponseStream() if url.invoke_mode == "RESPONSE_STREAM" else None
            future = self._lambdas.start(url.function_arn, event, ids, request.received_ns, stream, ids.request)
        except AwsError as error:
            answer(_refused(error))
            return
        if stream is None:
            future.add_done_callback(lambda done: answer(_answered(done)))
        else:
            url_streams.pass_on(future, stream, answer, _answered)


def _event(request: HttpRequest, place: Place, ids: RequestIds) -> dict[str, Any]:
    """Format 2.0; a function URL's context has the path decoded too (recorded on AWS)."""
    event = event_2_0(request, place, ids)
    event["requestContext"]["http"]["path"] = event["rawPath"]
    return event


def _authorised(request: HttpRequest, url: FunctionUrl) -> bool:
    """With AWS_IAM a signature must be there; whose it is does not matter on this machine."""
    return url.auth_type == "NONE" or (request.header("authorization") or "").startswith("AWS4-HMAC-SHA256 ")


def _answered(done: asyncio.Future[InvokeResult]) -> HttpResponse:
    error = AwsError("ServiceException", "Cancelled", 500) if done.cancelled() else done.exception()
    if isinstance(error, AwsError):
        return _refused(error)
    if error is not None:
        logger.error("an invocation failed", exc_info=error)
        return _bad_gateway()
    result = done.result()
    if result.function_error is not None:
        return _bad_gateway()
    try:
        return response_2_0(result.payload, compact=True)
    except Malformed as malformed:
        logger.info("malformed response of a function URL's function: %s", malformed)
        return _bad_gateway()


def _refused(error: AwsError) -> HttpResponse:
    """What Lambda refuses: throttling is 429 here, all else is the URL's own failure (502)."""
    if error.status == 429:
        return _error(429, error.code, "Too Many Requests")
    return _bad_gateway()


def _bad_gateway() -> HttpResponse:
    return HttpResponse(502, [("Content-Type", "application/json")], b"Internal Server Error")


def _error(status: int, kind: str, message: str | None) -> HttpResponse:
    body = b'{"Message":%s}' % json.dumps(message).encode()
    return HttpResponse(status, [("Content-Type", "application/json"), ("x-amzn-ErrorType", kind)], body)
