"""What a request's head must be like before anybody may act on it."""

from __future__ import annotations

from preheat.kernel.http import Headers, HttpRequest


class Refused(Exception):
    """The request is answered with this error, which is the last thing its connection says."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


def check_headers(headers: Headers, http_version: str) -> tuple[int, bool, bool]:
    """(announced size of the body or 0, is 100 Continue expected, is there an Upgrade with a body).

    Raises Refused for what cannot be trusted or read.
    """
    hosts = size = 0
    length = chunked = upgrade = expects = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == "host":
            hosts += 1
        elif lowered == "content-length":
            length = True
            size = int(value) if value.isdecimal() else 0  # the parser has refused what is no number
        elif lowered == "transfer-encoding":
            chunked = True
            if value.lower() != "chunked":  # RFC 9112, 6.1; the parser has refused what does not end in it
                raise Refused(501, f"Transfer-Encoding: {value}")
        elif lowered == "upgrade":
            upgrade = True
        elif lowered == "expect":
            expects = value.lower() == "100-continue"
    if length and chunked:  # RFC 9112, 6.1: the way requests are smuggled
        raise Refused(400, "Content-Length with Transfer-Encoding")
    if hosts > 1 or (not hosts and http_version != "1.0"):  # RFC 9112, 3.2
        raise Refused(400, "exactly one Host header is needed")
    return size, expects, upgrade and (chunked or size > 0)


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
    request.path = path.decode("latin-1")  # ASCII: the parser lets nothing else through
    request.query = query.decode("latin-1")
