"""The data plane of function URLs: `<url id>.lambda-url.<region>.<domain>`, or `/_aws/lambda-url/<url id>/<path>`.

Source: Lambda developer guide, "Creating and managing Lambda function URLs". Answers in RESPONSE_STREAM mode are sent
when the function has finished, as for a function that does not stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple

from preheat.kernel.errors import AwsError
from preheat.kernel.function import FunctionUrl, InvokeResult, UrlDirectory
from preheat.kernel.http import Headers, HttpRequest, HttpResponse
from preheat.services.apigateway.backends import MAX_EVENT_BYTES
from preheat.services.apigateway.event import encode_event
from preheat.services.apigateway.identifiers import request_ids
from preheat.services.apigateway.lambdas import Lambdas
from preheat.services.apigateway.responses import Malformed
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
                answer(_error(403, "AccessDeniedException", "Forbidden"))
                return
            if url.cors is not None and is_preflight(request):
                respond(preflight_response(request, url.cors))
                return
            place = Place(target.url_id, "anonymous", "$default", "$default", target.path)
            event = encode_event(event_2_0(request, place, ids))
            if len(event) > MAX_EVENT_BYTES:
                answer(_error(413, "RequestEntityTooLargeException", "Request Entity Too Large"))
                return
            future = self._lambdas.start(url.function_arn, event, ids, request.received_ns)
        except AwsError as error:
            answer(_refused(error))
            return
        future.add_done_callback(lambda done: answer(_answered(done)))


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
        return response_2_0(result.payload)
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


def _error(status: int, kind: str, message: str) -> HttpResponse:
    body = b'{"Message":"%s"}' % message.encode()
    return HttpResponse(status, [("Content-Type", "application/json"), ("x-amzn-ErrorType", kind)], body)
