"""A run's folder, read whole: what `preheat load` left in it, as values."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preheat.analysis.journal import Journal, parse_journal
from preheat.analysis.requests_csv import RequestTable, parse_requests
from preheat.kernel.errors import PreheatError

USAGE = 252
"""Exit code of a wrong argument, as the aws CLI's."""


@dataclass(slots=True)
class RunFolder:
    """`info` is run.json ({} where missing), `journal` None where missing, `users` (epoch s, users running)."""

    path: Path
    table: RequestTable
    journal: Journal | None
    info: dict[str, Any] = field(default_factory=dict)
    users: list[tuple[float, int]] = field(default_factory=list)


def read_run(path: Path) -> RunFolder:
    """Read a run's folder. Raises PreheatError: 252 if it is none, 255 if a file in it makes no sense."""
    if not path.is_dir():
        raise PreheatError(f"{path} is not a run's folder: no such directory", USAGE)
    requests = path / "requests.csv"
    if not requests.is_file():
        raise PreheatError(f"{path} is not a run's folder: it has no requests.csv", USAGE)
    try:
        table = parse_requests(requests.read_bytes())
    except ValueError as error:
        raise PreheatError(f"{requests}: {error}") from None
    journal = path / "journal.jsonl"
    return RunFolder(
        path=path,
        table=table,
        journal=parse_journal(journal.read_bytes()) if journal.is_file() else None,
        info=_read_info(path / "run.json"),
        users=_read_users(path / "locust_logs"),
    )


def _read_info(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        info = json.loads(path.read_bytes().decode("utf-8", "replace"))
    except ValueError as error:
        raise PreheatError(f"{path} is not JSON: {error}") from None
    if not isinstance(info, dict):
        raise PreheatError(f"{path} is not a JSON object")
    if info.get("schema", 1) != 1:
        raise PreheatError(f"{path} has schema {info['schema']}; this version of preheat reads schema 1")
    return info


def _read_users(folder: Path) -> list[tuple[float, int]]:
    """Locust's user count over time, from `*_stats_history.csv` (columns Timestamp, User Count, Name)."""
    users: list[tuple[float, int]] = []
    for path in sorted(folder.glob("*_stats_history.csv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as lines:
            for row in csv.DictReader(lines):
                if row.get("Name") != "Aggregated":
                    continue
                try:
                    users.append((float(row["Timestamp"]), int(row["User Count"])))
                except (KeyError, TypeError, ValueError):
                    continue  # the line being written when the run was stopped
    return sorted(users)
