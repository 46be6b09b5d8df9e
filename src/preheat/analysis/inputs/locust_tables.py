"""Locust's aggregates: its `--csv` tables. They hold no single request, so nothing can be labelled
from them; they tell how many requests there were, what failed, and rounded percentiles."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

_STATUS = re.compile(r"\b([1-5]\d\d)\b(?: (?:Client|Server) Error| |:|'|\)|$)")

_NO_ANSWER = re.compile(
    r"Connect|Time-?d? ?out|Disconnected|Protocol|Socket|SSL|gaierror|Chunked|Reset|Status code: 0\b"
)
"""Errors of requests, urllib3 and geventhttpclient where no answer came."""


@dataclass(slots=True)
class LocustTables:
    """`percentiles_ms` by "50%" and the like, as Locust rounds them (two significant digits above 100 ms);
    `failed` by status ("0" for no answer, "unknown" where the error does not tell); `users` are (epoch s, users
    running)."""

    requests: int | None = None
    failures: int | None = None
    percentiles_ms: dict[str, float] = field(default_factory=dict)
    min_ms: float | None = None
    max_ms: float | None = None
    mean_ms: float | None = None
    failed: dict[str, int] = field(default_factory=dict)
    exceptions: int = 0
    users: list[tuple[float, int]] = field(default_factory=list)
    kind: str = ""
    """Which file it was: stats, history, failures, exceptions, html."""


_HISTORY, _STATS = {"Timestamp", "User Count", "Name"}, {"Request Count", "Failure Count", "Name"}
_FAILURES, _EXCEPTIONS = {"Occurrences", "Error"}, {"Count", "Message", "Traceback"}
_NEEDED = (_HISTORY, _STATS, _FAILURES, _EXCEPTIONS)
_BEST = ("html", "stats", "history")
"""Which of a run's own accounts to believe: Locust writes its CSV files once a second and not at the end, so that they
lack the last requests (seen with Locust 2.47)."""


def combined(tables: Sequence[LocustTables]) -> LocustTables:
    """What the files of one or more runs tell together. A run's several files tell the same, so that totals are taken
    from the best kind only and added over the runs; percentiles of several runs cannot be added and are left out."""
    whole = LocustTables()
    for table in tables:
        whole.users += table.users
        whole.exceptions = max(whole.exceptions, table.exceptions)
    whole.users.sort()
    counted = [table for table in tables if table.requests is not None]
    kind = next((kind for kind in _BEST if any(table.kind == kind for table in counted)), "")
    counted = [table for table in counted if table.kind == kind]
    if counted:
        requests = sum(table.requests or 0 for table in counted)
        whole.requests, whole.failures = requests, sum(table.failures or 0 for table in counted)
        whole.min_ms = min((table.min_ms for table in counted if table.min_ms is not None), default=None)
        whole.max_ms = max((table.max_ms for table in counted if table.max_ms is not None), default=None)
        means = [(table.mean_ms, table.requests or 0) for table in counted if table.mean_ms is not None]
        whole.mean_ms = sum(mean * number for mean, number in means) / requests if means and requests else None
        whole.percentiles_ms = counted[0].percentiles_ms if len(counted) == 1 else {}
    listed = [table for table in tables if table.kind == "failures"] or [table for table in tables if table.failed]
    for table in listed:
        for status, number in table.failed.items():
            whole.failed[status] = whole.failed.get(status, 0) + number
    return whole


def parse_table(text: str) -> LocustTables | None:
    """One of the four CSV tables, told apart by its header; None if it is none of them."""
    header = text[:2000].lstrip("\ufeff").split("\n", 1)[0]  # the rest of a long log is not looked at
    names = set(next(csv.reader([header])))
    if not any(needed <= names for needed in _NEEDED):
        return None
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff"), newline=""))
    if names >= _HISTORY:
        return _history(reader)
    if names >= _STATS:
        return _stats(reader)
    if names >= _FAILURES:
        failed = failed_by_status((row.get("Error", ""), row.get("Occurrences", "")) for row in reader)
        return LocustTables(failed=failed, kind="failures")
    return LocustTables(exceptions=sum(int(number(row.get("Count")) or 0) for row in reader), kind="exceptions")


def _history(reader: csv.DictReader[str]) -> LocustTables:
    """With --csv-full-history a line each second: users running, and the totals so far."""
    tables = LocustTables(kind="history")
    for row in reader:
        at, count = number(row.get("Timestamp")), number(row.get("User Count"))
        if row.get("Name") != "Aggregated" or at is None or count is None:
            continue
        tables.users.append((at, int(count)))
        total = number(row.get("Total Request Count"))
        if total is not None and total >= (tables.requests or 0):
            tables.requests, tables.failures = int(total), int(number(row.get("Total Failure Count")) or 0)
            tables.min_ms, tables.max_ms = (number(row.get(f"Total {end} Response Time")) for end in ("Min", "Max"))
            tables.mean_ms = number(row.get("Total Average Response Time"))
            median = number(row.get("Total Median Response Time"))
            tables.percentiles_ms = {} if median is None else {"50%": median}
    tables.users.sort()
    return tables


def _stats(reader: csv.DictReader[str]) -> LocustTables:
    tables = LocustTables(kind="stats")
    for row in reader:
        count = number(row.get("Request Count"))
        if row.get("Name") != "Aggregated" or count is None:
            continue
        tables.requests, tables.failures = int(count), int(number(row.get("Failure Count")) or 0)
        tables.min_ms, tables.max_ms = number(row.get("Min Response Time")), number(row.get("Max Response Time"))
        tables.mean_ms = number(row.get("Average Response Time"))
        found = {name: number(value) for name, value in row.items() if name and name.endswith("%")}
        tables.percentiles_ms = {name: value for name, value in found.items() if value is not None}
    return tables


def failed_by_status(rows: Any) -> dict[str, int]:
    """(error, occurrences) by the status that the error names, "0" where it is one of the connection, else "unknown":
    an error may be what a locustfile made of an answer that it did not like."""
    failed: dict[str, int] = {}
    for error, count in rows:
        status = _STATUS.search(str(error))
        key = status[1] if status else "0" if _NO_ANSWER.search(str(error)) else "unknown"
        failed[key] = failed.get(key, 0) + int(number(count) or 0)
    return dict(sorted(failed.items()))


def number(value: Any) -> float | None:
    """A cell's figure; None for "N/A", nothing, or a line that was being written when the run was stopped."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
