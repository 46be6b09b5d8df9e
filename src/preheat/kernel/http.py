"""HTTP messages as values, shared by the front, the AWS wire and the data planes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class HttpRequest:
    """One whole request, body included, unless it went to a `sink` as it came: then `body` is empty.

    `path` and `query` are as sent: percent-encoded, undecoded, `query` without its "?".
    Header names keep the case they were sent in; values are latin-1 text.
    `received_ns` is `time.monotonic_ns()` when the message was complete.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    client_host: str = "127.0.0.1"
    received_ns: int = 0
    tls: bool = False
    sink: Any = None
    """What the front's `stream` returned for this request (`net.contract.BodySink`); the handler's from now on."""
    trailers: Sequence[tuple[str, str]] = ()
    """Fields after a chunked body."""

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case; None where absent."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return None


@dataclass(slots=True)
class HttpResponse:
    """One response: whole, or `stream` in place of `body`. Content-Length and Date are the front's to add.

    `length` is the stream's size in bytes; without it the front sends chunks. The front closes the stream
    when it ends or the client leaves; an error in it, or a wrong length, breaks the connection off.
    """

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None
