"""What a request's head must be like before anybody may act on it."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

from preheat.kernel.http import Headers, HttpRequest

_URL_SAFE = bytes(range(0x21, 0x7F)).decode()


class Refused(Exception):
    """The request is answered with this error, which is the last thing its connection says."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_headers(headers: Headers, http_version: str) -> tuple[int, bool]:
    """(announced size of the body or 0, is 100 Continue expected); raises Refused for what cannot be trusted."""
    hosts = size = 0
    length = chunked = expects = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == "host":
            hosts += 1
        elif lowered == "content-length":
            length = True
            size = int(value) if value.isdecimal() else 0  # the parser has refused what is no number
        elif lowered == "transfer-encoding":
            chunked = True
        elif lowered == "expect":
            expects = value.lower() == "100-continue"
    if length and chunked:  # RFC 9112, 6.1: the way requests are smuggled
        raise Refused(400, "Content-Length with Transfer-Encoding")
    if hosts > 1 or (not hosts and http_version != "1.0"):  # RFC 9112, 3.2
        raise Refused(400, "exactly one Host header is needed")
    return size, expects


def set_target(request: HttpRequest, url: bytes) -> None:
    """Path and query of a request target; a proxy's `http://host/path` names the host, too (RFC 9112, 3.2.2)."""
    if not url.startswith(b"/"):
        scheme, separator, rest = url.partition(b"://")
        if not separator or scheme.lower() not in (b"http", b"https"):
            raise Refused(400, "the request target is not a path")
        authority, _, url = rest.partition(b"/")
        url = b"/" + url
        host = ("Host", authority.decode("latin-1"))
        request.headers[:] = [host if name.lower() == "host" else (name, value) for name, value in request.headers]
    path, _, query = url.partition(b"?")
    request.path = _text(path)
    request.query = _text(query)


def _text(raw: bytes) -> str:
    """Request targets are ASCII; bytes beyond it, which some clients send bare, are percent-encoded."""
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError:
        return quote_from_bytes(raw, safe=_URL_SAFE)
