"""requests.csv: one row per request, as the hook inside Locust writes it and everything else reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
"""`*_start_s` epoch seconds; connection new|reused|unknown, its set-up times only where it was made for this request;
response_ms as Locust measured it; status 0 when no answer came; request_id is the header x-amzn-RequestId."""


def encode(cells: Iterable[object]) -> bytes:
    """One line of CSV. Line breaks inside a cell become spaces, so that a line is a row even in a torn file."""
    text = io.StringIO()
    flat = [" ".join(cell.splitlines()) if isinstance(cell, str) else cell for cell in cells]
    csv.writer(text, lineterminator="\n").writerow(flat)
    return text.getvalue().encode("utf-8", errors="replace")


@dataclass(slots=True)
class Tally:
    """What the rows so far add up to."""

    requests: int = 0
    failures: int = 0
    new_connections: int = 0
    users: set[str] = field(default_factory=set)
    response_ms: list[float] = field(default_factory=list)
    answered_ids: set[str] = field(default_factory=set)
    """Request ids of the rows with status 200: requests that certainly reached the function."""

    def add(self, row: dict[str, str]) -> None:
        self.requests += 1
        self.failures += bool(row["error"])
        self.new_connections += row["connection"] == "new"
        self.users.add(row["user"])
        self.response_ms.append(float(row["response_ms"]))
        if row["status"] == "200" and row["request_id"]:
            self.answered_ids.add(row["request_id"])


class Tail:
    """Reads a growing requests.csv; `tally` is up to date after each `read`."""

    def __init__(self, path: Path) -> None:
        self.tally = Tally()
        self._path = path
        self._offset = 0
        self._header_seen = False

    def read(self) -> Tally:
        for cells in csv.reader(self._new_lines()):
            if not self._header_seen:
                self._header_seen = True
            else:
                self.tally.add(dict(zip(COLUMNS, cells, strict=True)))
        return self.tally

    def _new_lines(self) -> Iterator[str]:
        """Whole lines since the last call; a half-written last line waits for its end."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        yield from whole.decode("utf-8").splitlines(keepends=True)
