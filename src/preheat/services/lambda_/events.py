"""Asynchronous invocations at rest: accepted, waiting, tried again, given up. One SQLite table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace

_SPARE_PAGES = 2048
"""Free pages that the file keeps (8 MB), so that events which come and go cost no moving about."""
_STEP_PAGES = 256


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted event. `attempts` reached the function, `refusals` did not; `result` is the last attempt's.

    Times are epoch milliseconds: they must outlive the server. `qualifier` is "" where none was named.
    """

    id: str
    name: str
    qualifier: str
    payload: bytes
    accepted_ms: int
    due_ms: int
    client_context: str = ""
    trace_id: str = ""
    attempts: int = 0
    refusals: int = 0
    result: bytes = b""
    executed_version: str = ""


class EventStore:
    """What `add` has returned from survives `kill -9`, until `remove`. `db` vacuums incrementally."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def add(self, event: Event) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                event.id,
                event.name,
                event.qualifier,
                event.payload,
                event.client_context,
                event.trace_id,
                event.accepted_ms,
                event.attempts,
                event.refusals,
                event.due_ms,
                event.result,
                event.executed_version,
            ),
        )

    def get(self, event_id: str) -> Event | None:
        row = self._db.execute("SELECT * FROM events WHERE id = ?", (event_id,)).fetchone()
        return Event(**dict(row)) if row is not None else None

    def remove(self, event_id: str) -> None:
        self._db.execute("DELETE FROM events WHERE id = ?", (event_id,))

    def give_back(self) -> bool:
        """Return what finished events took to the file system, a step of at most 1 MB; whether there is more.

        Pages that deleted rows leave are SQLite's to use again, for any table, but never leave the file by themselves.
        """
        if self._free_pages() <= _SPARE_PAGES:
            return False
        self._db.executescript(f"PRAGMA incremental_vacuum({_STEP_PAGES})")  # `execute` would stop after one page
        return self._free_pages() > _SPARE_PAGES

    def _free_pages(self) -> int:
        (count,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return int(count)

    def waiting(self) -> Iterator[tuple[int, str]]:
        """(due_ms, id) of every event."""
        return ((row["due_ms"], row["id"]) for row in self._db.execute("SELECT due_ms, id FROM events"))


def tried(event: Event, payload: bytes, executed_version: str) -> Event:
    """The event after the function has failed on it."""
    return replace(event, attempts=event.attempts + 1, result=payload, executed_version=executed_version)
