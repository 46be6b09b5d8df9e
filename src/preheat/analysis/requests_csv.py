"""`requests.csv` as values: what the client saw, one row per request, written by `preheat.load`."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import BinaryIO

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


def parse_requests(data: bytes | BinaryIO) -> RequestTable:
    """Read `requests.csv`, bytes or a file opened for them; bytes that are not UTF-8 become U+FFFD.

    Raises ValueError where the header lacks a column that the analysis cannot do without.
    """
    source = io.BytesIO(data) if isinstance(data, bytes) else data
    with io.TextIOWrapper(source, encoding="utf-8-sig", errors="replace", newline="") as text:
        table = _parse(text)
    table.rows.sort(key=lambda request: (request.start_s, request.index))
    return table


def _parse(text: Iterable[str]) -> RequestTable:
    reader = csv.reader(text)
    table = RequestTable()
    last_bad = False
    try:
        header = next(reader, [])
        if header and (missing := _NEEDED - set(header)):
            raise ValueError(f"requests.csv has no column {', '.join(sorted(missing))}")
        cells = itemgetter(*(header.index(name) if name in header else len(header) for name in COLUMNS))
        for values in filter(None, reader):
            request = _parse_row(*cells([*values, ""])) if len(values) == len(header) else None
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
    return table


def _parse_row(
    index: str,
    user: str,
    method: str,
    name: str,
    url: str,
    intended_start_s: str,
    start_s: str,
    connection: str,
    connect_ms: str,
    tls_ms: str,
    response_ms: str,
    status: str,
    size_bytes: str,
    request_id: str,
    error: str,
) -> ClientRequest | None:
    """One row's cells in the order of `COLUMNS`, "" for a column that the file lacks; None where they make no sense."""
    try:
        return ClientRequest(
            int(index),
            _number(start_s),
            _number(response_ms),
            int(status or 0),
            request_id.strip(),
            error,
            # One object for each value: of a million rows nearly all share these.
            sys.intern(user),
            sys.intern(method),
            sys.intern(name),
            sys.intern(url),
            _optional(intended_start_s),
            sys.intern(connection) or "unknown",
            _optional(connect_ms),
            _optional(tls_ms),
            int(size_bytes or 0),
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
