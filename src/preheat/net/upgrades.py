"""The body of a request that offers an upgrade, as Java's HTTP client and `curl --http2` do with every request.

httptools takes all that follows such a head for the other protocol. Declined, the offer leaves a message of HTTP/1.1,
whose body a parser of its own reads.
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools


class Receiver(Protocol):
    """httptools' callbacks for what follows a head."""

    def on_body(self, body: bytes) -> None: ...

    def on_message_complete(self) -> None: ...


class _BodyOnly:
    """Hands a body on, and says nothing of the head."""

    def __init__(self, receiver: Receiver) -> None:
        self.on_body = receiver.on_body
        self.on_message_complete = receiver.on_message_complete


def body_parser(receiver: Receiver, size: int) -> Any:
    """A parser that stands behind the head of a message whose body has `size` bytes, or is chunked where that is 0.

    The message is its connection's last: `should_keep_alive()` is false. Trailers are dropped.
    """
    parser = httptools.HttpRequestParser(_BodyOnly(receiver))
    framing = b"Content-Length: %d" % size if size else b"Transfer-Encoding: chunked"
    parser.feed_data(b"POST / HTTP/1.1\r\nConnection: close\r\n%b\r\n\r\n" % framing)
    return parser
