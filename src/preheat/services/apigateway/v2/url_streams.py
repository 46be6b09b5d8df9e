"""A function URL in RESPONSE_STREAM mode: the client gets the response while the function writes it.

A response of the type `application/vnd.awslambda.http-integration-response` begins with a prelude: a JSON object of
`statusCode`, `headers` and `cookies`, then eight NUL bytes (what awslambda.HttpResponseStream writes in AWS's Node.js
runtime). Any other is the body as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from preheat.kernel.function import InvokeResult
from preheat.kernel.http import HttpResponse
from preheat.kernel.stream import BrokenOff, ResponseStream
from preheat.services.apigateway.responses import Malformed
from preheat.services.apigateway.v2.payload import STREAM_TYPE, streamed_head

logger = logging.getLogger(__name__)

_PRELUDE_TYPE = "application/vnd.awslambda.http-integration-response"
_PRELUDE_END = bytes(8)
_PRELUDE_MAX_BYTES = 64 * 1024

Invoked = asyncio.Future[InvokeResult]
_answering: set[asyncio.Task[None]] = set()


def pass_on(
    invocation: Invoked,
    stream: ResponseStream,
    answer: Callable[[HttpResponse], None],
    whole: Callable[[Invoked], HttpResponse],
) -> None:
    """Answer once, as soon as the head is known. `whole` makes the answer of a function that did not stream."""
    invocation.add_done_callback(lambda _: stream.end())
    task = asyncio.get_running_loop().create_task(_answer(invocation, stream, answer, whole))
    _answering.add(task)
    task.add_done_callback(_answering.discard)


async def _answer(
    invocation: Invoked,
    stream: ResponseStream,
    answer: Callable[[HttpResponse], None],
    whole: Callable[[Invoked], HttpResponse],
) -> None:
    if not await stream.started():
        answer(whole(invocation))
        return
    try:
        answer(await _streamed(invocation, stream))
    except Malformed as malformed:
        logger.info("malformed prelude of a function URL's function: %s", malformed)
        await stream.aclose()
        answer(HttpResponse(502, [("Content-Type", "application/json")], b"Internal Server Error"))


async def _streamed(invocation: Invoked, stream: ResponseStream) -> HttpResponse:
    kind = stream.content_type.partition(";")[0].strip().lower()
    if kind != _PRELUDE_TYPE:
        headers = [("Content-Type", stream.content_type or STREAM_TYPE)]
        first = await anext(stream, b"")
        return HttpResponse(200, headers, stream=_Body(invocation, stream, first))
    head = b""
    while _PRELUDE_END not in head:
        more = await anext(stream, b"")
        head += more
        if not more or len(head) > _PRELUDE_MAX_BYTES:
            raise Malformed("no prelude of JSON and eight NUL bytes")
    prelude, _, first = head.partition(_PRELUDE_END)
    status, headers = streamed_head(prelude)
    return HttpResponse(status, headers, stream=_Body(invocation, stream, first))


class _Body:
    """What is left of the response; an error of the function breaks it off, so that nobody takes it for whole."""

    def __init__(self, invocation: Invoked, stream: ResponseStream, first: bytes) -> None:
        self._invocation = invocation
        self._stream = stream
        self._first = first

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            return first
        try:
            return await anext(self._stream)
        except StopAsyncIteration:
            if self._invocation.result().function_error is not None:
                raise BrokenOff("the function failed in the middle of its response") from None
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()
