"""`requests.csv` as values: what the client saw, one row per request, written by `preheat.load`."""

from __future__ import annotations

import csv
import io
import math
import sys
from dataclasses import dataclass, field

import msgspec

COLUMNS = (
    "index",
    "user",
    "method",
    "name",
    "url",
    "intended_start_s",
    "start_s",
    "connection",
    "connect_ms",
    "tls_ms",
    "response_ms",
    "status",
    "bytes",
    "request_id",
    "error",
)
_NEEDED = {"index", "start_s", "response_ms", "status", "request_id"}


class ClientRequest(msgspec.Struct, frozen=True, gc=False):
    """One request as the load generator measured it. `status` is 0 where no answer came."""

    index: int
    start_s: float
    """Epoch seconds."""
    response_ms: float
    """As Locust measures it: connection set-up included where the connection was new."""
    status: int
    request_id: str = ""
    error: str = ""
    user: str = ""
    method: str = ""
    name: str = ""
    url: str = ""
    intended_start_s: float | None = None
    connection: str = "unknown"
    connect_ms: float | None = None
    tls_ms: float | None = None
    size_bytes: int = 0

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 400 and not self.error

    @property
    def end_s(self) -> float:
        return self.start_s + self.response_ms / 1000

    @property
    def setup_ms(self) -> float | None:
        """TCP and TLS set-up of a new connection; None where reused or not measured."""
        if self.connect_ms is None and self.tls_ms is None:
            return None
        return (self.connect_ms or 0.0) + (self.tls_ms or 0.0)


@dataclass(slots=True)
class RequestTable:
    """The rows in the order sent. `bad_rows` holds line numbers of rows that could not be read;
    `torn` says that the last row was cut off, as happens when a run is killed."""

    rows: list[ClientRequest] = field(default_factory=list)
    bad_rows: list[int] = field(default_factory=list)
    torn: bool = False


def parse_requests(data: bytes) -> RequestTable:
    """Read `requests.csv`; bytes that are not UTF-8 become U+FFFD.

    Raises ValueError where the header lacks a column that the analysis cannot do without.
    """
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", errors="replace", newline=""))
    table = RequestTable()
    last_bad = False
    try:
        header = next(reader, [])
        if header and (missing := _NEEDED - set(header)):
            raise ValueError(f"requests.csv has no column {', '.join(sorted(missing))}")
        for values in filter(None, reader):
            request = _parse_row(dict(zip(header, values, strict=False))) if len(values) == len(header) else None
            last_bad = request is None
            if request is not None:
                table.rows.append(request)
            else:
                table.bad_rows.append(reader.line_num)
    except csv.Error:  # an endless quoted field, as a torn quote makes one
        last_bad = True
        table.bad_rows.append(reader.line_num)
    if last_bad:
        table.torn = True
        table.bad_rows.pop()
    table.rows.sort(key=lambda request: (request.start_s, request.index))
    return table


def _parse_row(text: dict[str, str]) -> ClientRequest | None:
    try:
        return ClientRequest(
            index=int(text["index"]),
            start_s=_number(text["start_s"]),
            response_ms=_number(text["response_ms"]),
            status=int(text["status"] or 0),
            request_id=text["request_id"].strip(),
            error=text.get("error", ""),
            # One object for each value: of a million rows nearly all share these.
            user=sys.intern(text.get("user", "")),
            method=sys.intern(text.get("method", "")),
            name=sys.intern(text.get("name", "")),
            url=sys.intern(text.get("url", "")),
            intended_start_s=_optional(text.get("intended_start_s", "")),
            connection=sys.intern(text.get("connection", "")) or "unknown",
            connect_ms=_optional(text.get("connect_ms", "")),
            tls_ms=_optional(text.get("tls_ms", "")),
            size_bytes=int(text.get("bytes") or 0),
        )
    except ValueError:
        return None


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _optional(text: str) -> float | None:
    return _number(text) if text else None
