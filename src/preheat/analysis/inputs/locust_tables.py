"""Locust's aggregates: `--csv` tables and the HTML report. They hold no single request, so nothing can be labelled
from them; they tell how many requests there were, what failed, and rounded percentiles."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_STATUS = re.compile(r"\b([1-5]\d\d)\b(?: (?:Client|Server) Error| |:|'|\)|$)")
_TEMPLATE = re.compile(r"window\.templateArgs = (\{)")


@dataclass(slots=True)
class LocustTables:
    """`percentiles_ms` by "50%" and the like, as Locust rounds them (two significant digits above 100 ms);
    `failed` by status, "0" where the error names none; `users` are (epoch s, users running)."""

    requests: int | None = None
    failures: int | None = None
    percentiles_ms: dict[str, float] = field(default_factory=dict)
    min_ms: float | None = None
    max_ms: float | None = None
    mean_ms: float | None = None
    failed: dict[str, int] = field(default_factory=dict)
    exceptions: int = 0
    users: list[tuple[float, int]] = field(default_factory=list)

    def merge(self, other: LocustTables) -> None:
        """Take over what is not known yet: a run's tables and its HTML report tell the same."""
        for name in ("requests", "failures", "min_ms", "max_ms", "mean_ms"):
            if getattr(self, name) is None:
                setattr(self, name, getattr(other, name))
        self.percentiles_ms = self.percentiles_ms or other.percentiles_ms
        self.failed = self.failed or other.failed
        self.exceptions = max(self.exceptions, other.exceptions)
        self.users = self.users or other.users


def parse_table(text: str) -> LocustTables | None:
    """One of the four CSV tables, told apart by its header; None if it is none of them."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = set(reader.fieldnames or ())
    if {"Timestamp", "User Count", "Name"} <= names:
        return _history(reader)
    if {"Request Count", "Failure Count", "Name"} <= names:
        return _stats(reader)
    if {"Occurrences", "Error"} <= names:
        return LocustTables(failed=_failed((row.get("Error", ""), row.get("Occurrences", "")) for row in reader))
    if {"Count", "Message", "Traceback"} <= names:
        return LocustTables(exceptions=sum(int(_number(row.get("Count")) or 0) for row in reader))
    return None


def _history(reader: csv.DictReader[str]) -> LocustTables:
    users = []
    for row in reader:
        at, count = _number(row.get("Timestamp")), _number(row.get("User Count"))
        if row.get("Name") == "Aggregated" and at is not None and count is not None:
            users.append((at, int(count)))
    return LocustTables(users=sorted(users))


def _stats(reader: csv.DictReader[str]) -> LocustTables:
    tables = LocustTables()
    for row in reader:
        count = _number(row.get("Request Count"))
        if row.get("Name") != "Aggregated" or count is None:
            continue
        tables.requests, tables.failures = int(count), int(_number(row.get("Failure Count")) or 0)
        tables.min_ms, tables.max_ms = _number(row.get("Min Response Time")), _number(row.get("Max Response Time"))
        tables.mean_ms = _number(row.get("Average Response Time"))
        found = {name: _number(value) for name, value in row.items() if name and name.endswith("%")}
        tables.percentiles_ms = {name: value for name, value in found.items() if value is not None}
    return tables


def _failed(rows: Any) -> dict[str, int]:
    failed: dict[str, int] = {}
    for error, count in rows:
        status = _STATUS.search(str(error))
        key = status[1] if status else "0"
        failed[key] = failed.get(key, 0) + int(_number(count) or 0)
    return dict(sorted(failed.items()))


def parse_html(text: str) -> LocustTables | None:
    """The HTML report of Locust 2.x, which carries its figures as JSON; None where there is none."""
    found = _TEMPLATE.search(text)
    if found is None:
        return None
    try:
        data, _ = json.JSONDecoder().raw_decode(text, found.start(1))
    except ValueError:
        return None
    tables = LocustTables()
    for row in data.get("requests_statistics", []):
        if row.get("name") == "Aggregated":
            tables.requests, tables.failures = int(row.get("num_requests", 0)), int(row.get("num_failures", 0))
            tables.min_ms, tables.max_ms = row.get("min_response_time"), row.get("max_response_time")
            tables.mean_ms = row.get("avg_response_time")
    for row in data.get("response_time_statistics", []):
        if row.get("name") == "Aggregated":
            shares = {f"{float(key) * 100:g}%": value for key, value in row.items() if _number(key) is not None}
            tables.percentiles_ms = {name: float(value) for name, value in shares.items() if value is not None}
    tables.failed = _failed((row.get("error"), row.get("occurrences")) for row in data.get("failures_statistics", []))
    for point in data.get("history", []):
        at, count = _history_point(point)
        if at is not None and count is not None:
            tables.users.append((at, count))
    return tables


def _history_point(point: dict[str, Any]) -> tuple[float | None, int | None]:
    count = point.get("user_count")
    count = count[-1] if isinstance(count, list) else count
    try:
        at = datetime.fromisoformat(str(point.get("time"))).timestamp()
    except ValueError:
        return None, None
    return at, count if isinstance(count, int) else None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None  # "N/A", or the line being written when the run was stopped
