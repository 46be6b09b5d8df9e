"""Payload compression of an API with `minimumCompressionSize`, both ways.

Source: developer guide, "Payload compression for REST APIs in API Gateway": gzip and deflate, by the client's
Accept-Encoding, for answers of that size and above; a compressed request is decompressed before any mapping.
"""

from __future__ import annotations

import asyncio
import zlib

from preheat.kernel.http import HttpResponse
from preheat.services.apigateway import refusals
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.refusals import Refused

_WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
"""zlib's `wbits`: with gzip's header and trailer, and with zlib's own, which HTTP calls deflate (RFC 9110, 8.4.1)."""
_MAX_BODY_BYTES = 10 * 1024 * 1024
_THREAD_BYTES = 256 * 1024
"""Larger bodies take milliseconds to compress, which no other request should wait for."""


def decompress(call: Call) -> None:
    """Put the request's body in place of its compressed form.

    Raises Refused: 415 for what is not in that form (developer guide, "Call an API method with a compressed
    payload"), 413 once it is too large.
    """
    encoding = (call.request.header("content-encoding") or "").strip().lower()
    if call.stage.deployment.minimum_compression_size is None or encoding not in _WINDOWS:
        return
    reader = zlib.decompressobj(_WINDOWS[encoding])
    try:
        body = reader.decompress(call.request.body, _MAX_BODY_BYTES)
    except zlib.error as error:
        raise Refused(refusals.UNSUPPORTED_MEDIA_TYPE, f"the body is not {encoding}") from error
    if not reader.eof:
        too_large = len(body) == _MAX_BODY_BYTES
        raise Refused(refusals.TOO_LARGE if too_large else refusals.UNSUPPORTED_MEDIA_TYPE, "truncated body")
    call.received(body)


async def compress(call: Call, response: HttpResponse) -> None:
    """Compress the response in place, where API, size and client want it."""
    minimum = call.stage.deployment.minimum_compression_size
    encoding = _accepted(call.request.header("accept-encoding"))
    if minimum is None or encoding is None or not response.body or len(response.body) < minimum:
        return
    if any(name.lower() == "content-encoding" for name, _ in response.headers):
        return
    if len(response.body) > _THREAD_BYTES:
        response.body = await asyncio.to_thread(_compressed, response.body, encoding)
    else:
        response.body = _compressed(response.body, encoding)
    response.headers.append(("Content-Encoding", encoding))


def _compressed(body: bytes, encoding: str) -> bytes:
    writer = zlib.compressobj(wbits=_WINDOWS[encoding])
    return writer.compress(body) + writer.flush()


def _accepted(header: str | None) -> str | None:
    """The best of the codings that the client takes; gzip before deflate where it likes both alike."""
    weights: dict[str, float] = {}
    for part in (header or "").split(","):
        coding, _, parameter = part.partition(";")
        name, _, value = parameter.strip().partition("=")
        try:
            weights[coding.strip().lower()] = float(value) if name == "q" else 1.0
        except ValueError:
            weights[coding.strip().lower()] = 0.0
    usable = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in _WINDOWS}
    best = max(usable, key=lambda coding: usable[coding])
    return best if usable[best] > 0 else None
