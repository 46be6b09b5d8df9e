"""Locust's HTML report: from 2.22 on its figures stand in it as JSON, before that in tables (of the "legacy" page)."""

from __future__ import annotations

import json
import re
from datetime import datetime
from html.parser import HTMLParser
from typing import Any

from preheat.analysis.inputs.locust_tables import LocustTables, failed_by_status, number

_JSON = re.compile(r"window\.templateArgs\s*=\s*(\{)")


def looks_like(text: str) -> bool:
    return "window.templateArgs" in text or "Locust Test Report" in text or "Test Report for" in text[:2000]


def parse(text: str) -> LocustTables | None:
    """The report's totals; None where there are none."""
    found = _JSON.search(text)
    if found is None:
        return _legacy(text)
    try:
        data, _ = json.JSONDecoder().raw_decode(text, found.start(1))
    except ValueError:
        return None
    return _from_json(data)


def _from_json(data: dict[str, Any]) -> LocustTables:
    tables = LocustTables(kind="html")
    for row in data.get("requests_statistics", []):
        if row.get("name") == "Aggregated":
            tables.requests, tables.failures = int(row.get("num_requests", 0)), int(row.get("num_failures", 0))
            tables.min_ms, tables.max_ms = row.get("min_response_time"), row.get("max_response_time")
            tables.mean_ms = row.get("avg_response_time")
    for row in data.get("response_time_statistics", []):
        if row.get("name") == "Aggregated":
            shares = {f"{float(key) * 100:g}%": value for key, value in row.items() if number(key) is not None}
            tables.percentiles_ms = {name: float(value) for name, value in shares.items() if value is not None}
    failures = data.get("failures_statistics", [])
    tables.failed = failed_by_status((row.get("error"), row.get("occurrences")) for row in failures)
    for point in data.get("history", []):
        at, count = _history_point(point)
        if at is not None and count is not None:
            tables.users.append((at, count))
    return tables


def _history_point(point: dict[str, Any]) -> tuple[float | None, int | None]:
    count = point.get("user_count")
    count = count[-1] if isinstance(count, list) and count else count
    try:
        at = datetime.fromisoformat(str(point.get("time"))).timestamp()
    except ValueError:
        return None, None
    return at, count if isinstance(count, int) else None


class _Tables(HTMLParser):
    """The page's tables as rows of cells."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self._cell: list[str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr" and self.tables:
            self.tables[-1].append([])
        elif tag in ("td", "th") and self.tables and self.tables[-1]:
            self._cell = []

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append(" ".join("".join(self._cell).split()))
            self._cell = None


def _legacy(text: str) -> LocustTables | None:
    """The tables of Locust 1 and 2 up to 2.21; their history has times without a day, and is left out."""
    parser = _Tables()
    parser.feed(text)
    tables = LocustTables(kind="html")
    for header, *rows in (table for table in parser.tables if table):
        named = [dict(zip(header, row, strict=False)) for row in rows]
        total = next((row for row in reversed(named) if row.get("Name") in ("Aggregated", "Total")), None)
        if total is not None and "# Requests" in total:
            tables.requests, tables.failures = (int(number(total.get(key)) or 0) for key in ("# Requests", "# Fails"))
            tables.min_ms, tables.max_ms = number(total.get("Min (ms)")), number(total.get("Max (ms)"))
            tables.mean_ms = number(total.get("Average (ms)"))
        elif total is not None and any("%ile" in name for name in header):
            shares = {name.replace("ile (ms)", ""): number(value) for name, value in total.items() if "%ile" in name}
            tables.percentiles_ms = {name: value for name, value in shares.items() if value is not None}
        elif {"Error", "Occurrences"} <= set(header):
            tables.failed = failed_by_status((row.get("Error"), row.get("Occurrences")) for row in named)
    return tables if tables.requests is not None else None
