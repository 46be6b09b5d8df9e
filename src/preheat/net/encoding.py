"""Responses as bytes on the wire."""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus

from preheat.kernel.http import Headers, HttpResponse

REASONS = {int(status): status.phrase.encode() for status in HTTPStatus}
BODILESS = frozenset((204, 304))
"""Statuses whose responses have no body: RFC 9110, 15.3.5 and 15.4.5."""
_FRAMING = frozenset(("content-length", "transfer-encoding", "connection", "date", "keep-alive"))
_UNSAFE = str.maketrans("", "", "\r\n\0")


def encode_response(response: HttpResponse, *, head_only: bool = False, keep_alive: bool = True) -> bytes:
    """A whole response. CR, LF and NUL are taken out of header names and values, so that what a function
    returns can never split a response; framing headers of its own are dropped."""
    status, body = response.status, response.body
    if status in BODILESS:
        return encode_head(status, response.headers, b"", keep_alive)
    head = encode_head(status, response.headers, b"Content-Length: %d\r\n" % len(body), keep_alive)
    return head if head_only else head + body


def encode_head(status: int, headers: Headers, framing: bytes, keep_alive: bool) -> bytes:
    """Status line and headers; `framing` is the header line, if any, that says where the body ends."""
    return b"HTTP/1.1 %d %s\r\nDate: %s\r\n%s%sConnection: %s\r\n\r\n" % (
        status,
        REASONS.get(status, b"Unknown"),
        _date(),
        _lines(headers),
        framing,
        b"keep-alive" if keep_alive else b"close",
    )


def refusal(status: int, why: str) -> bytes:
    """The last response on a connection whose client cannot be understood or served."""
    body = b'{"message":"%s"}' % why.replace("\\", "/").replace('"', "'").translate(_UNSAFE).encode("ascii", "replace")
    return encode_response(HttpResponse(status, [("Content-Type", "application/json")], body), keep_alive=False)


def _lines(headers: Headers) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in headers if name.lower() not in _FRAMING]
    block = "".join(lines)
    if block.count("\n") != len(lines) or block.count("\r") != len(lines) or "\0" in block:
        block = "".join([f"{line.translate(_UNSAFE)}\r\n" for line in lines])
    return block.encode("latin-1", "replace")


_date_cache: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    global _date_cache
    now = int(time.time())
    if _date_cache[0] != now:
        _date_cache = (now, formatdate(now, usegmt=True).encode())
    return _date_cache[1]
