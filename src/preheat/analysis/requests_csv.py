"""`requests.csv` as values: what the client saw, one row per request, written by `preheat.load`."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class ClientRequest:
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
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig", "replace"), newline=""))
    table = RequestTable()
    missing = _NEEDED - set(_header(reader))
    if missing and reader.fieldnames:
        raise ValueError(f"requests.csv has no column {', '.join(sorted(missing))}")
    last_bad = False
    try:
        for row in reader:
            request = _parse_row(row)
            last_bad = request is None
            if request is None:
                table.bad_rows.append(reader.line_num)
            else:
                table.rows.append(request)
    except csv.Error:  # an endless quoted field, as a torn quote makes one
        last_bad = True
        table.bad_rows.append(reader.line_num)
    if last_bad:
        table.torn = True
        table.bad_rows.pop()
    table.rows.sort(key=lambda request: (request.start_s, request.index))
    return table


def _header(reader: csv.DictReader[str]) -> list[str]:
    try:
        return list(reader.fieldnames or [])
    except csv.Error as error:
        raise ValueError(f"requests.csv cannot be read: {error}") from None


def _parse_row(row: dict[str, str | None]) -> ClientRequest | None:
    if None in row or None in row.values():
        return None
    text = {key: value or "" for key, value in row.items()}
    try:
        request = ClientRequest(
            index=int(text["index"]),
            start_s=_number(text["start_s"]),
            response_ms=_number(text["response_ms"]),
            status=int(text["status"] or 0),
            request_id=text["request_id"].strip(),
            error=text.get("error", ""),
            user=text.get("user", ""),
            method=text.get("method", ""),
            name=text.get("name", ""),
            url=text.get("url", ""),
            intended_start_s=_optional(text.get("intended_start_s", "")),
            connection=text.get("connection", "") or "unknown",
            connect_ms=_optional(text.get("connect_ms", "")),
            tls_ms=_optional(text.get("tls_ms", "")),
            size_bytes=int(text.get("bytes") or 0),
        )
    except ValueError:
        return None
    return request


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _optional(text: str) -> float | None:
    return _number(text) if text else None
