"""Bodies that clients compress: botocore does so above 10 KB where the model has `requestcompression`."""

from __future__ import annotations

import zlib

from preheat.aws.failures import malformed
from preheat.kernel.http import HttpRequest

_LIMIT_BYTES = 64 << 20
"""No API call here is larger; a few kilobytes of zeros must not fill memory."""


def decompressed(request: HttpRequest) -> bytes:
    """The body as its sender had it; raises AwsError SerializationException."""
    if (request.header("content-encoding") or "").lower() != "gzip":
        return request.body
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)  # 16: with gzip's header (zlib's inflateInit2)
    try:
        body = reader.decompress(request.body, _LIMIT_BYTES)
    except zlib.error as error:
        raise malformed(f"The request body is not gzip: {error}") from error
    if not reader.eof:
        raise malformed("The request body is truncated or too large once decompressed")
    return body
