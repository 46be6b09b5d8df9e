"""HTTP messages as values, shared by the front, the AWS wire and the data planes."""

from __future__ import annotations

from dataclasses import dataclass, field

Headers = list[tuple[str, str]]


@dataclass(slots=True)
class HttpRequest:
    """One whole request, body included.

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

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever its case; None where absent."""
        wanted = name.lower()
        for key, value in self.headers:
            if key.lower() == wanted:
                return value
        return None


@dataclass(slots=True)
class HttpResponse:
    """One whole response. Content-Length and Date are the front's to add."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
