"""What a runtime POSTs as its response, taken as it comes: kept whole, or passed on while it is written."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence

from preheat.execution import payloads
from preheat.kernel.http import HttpRequest
from preheat.kernel.stream import ResponseStream

MODE = "Lambda-Runtime-Function-Response-Mode"
STREAMING = "streaming"
_ERROR_TYPE, _ERROR_BODY = "lambda-runtime-function-error-type", "lambda-runtime-function-error-body"


class WholeBody:
    """Of a response that is too large only what proves it is kept: the rest is read and dropped, so that the
    runtime hears of its mistake instead of a broken connection."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        room = payloads.MAX_RESPONSE_BYTES + 1 - len(self.data)
        if room > 0:
            self.data += data[:room]

    def abort(self) -> None:
        self.data.clear()


class StreamedBody:
    """Passed on; what goes past the limit is read and dropped."""

    def __init__(self, stream: ResponseStream) -> None:
        self.broken = False
        self._stream = stream
        self._room = payloads.MAX_STREAM_BYTES

    @property
    def too_large(self) -> bool:
        return self._room < 0

    def write(self, data: bytes) -> asyncio.Future[None] | None:
        fits = max(0, min(len(data), self._room))
        self._room -= len(data)
        return self._stream.write(data[:fits])

    def abort(self) -> None:
        self.broken = True


Body = WholeBody | StreamedBody


def is_streaming(request: HttpRequest) -> bool:
    return request.header(MODE) == STREAMING


def trailing_error(trailers: Sequence[tuple[str, str]]) -> bytes | None:
    """The error payload of a response that broke off in the middle, None where it is whole.

    Source: guide, "Building a custom runtime", response streaming: the type, and the error's JSON in base64.
    """
    found = {name.lower(): value for name, value in trailers}
    error_type = found.get(_ERROR_TYPE)
    if error_type is None:
        return None
    given = found.get(_ERROR_BODY, "")
    try:
        body = base64.b64decode(given, validate=True)
    except (ValueError, binascii.Error):
        body = given.encode("latin-1")
    return body if payloads.error_type(body) else payloads.error(error_type, body.decode("utf-8", "replace"))
