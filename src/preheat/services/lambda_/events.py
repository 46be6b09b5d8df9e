"""Asynchronous invocations at rest: accepted, waiting, tried again, given up. One SQLite table."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, replace


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
    """What `add` has returned from survives `kill -9`, until `remove`."""

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

    def waiting(self) -> Iterator[tuple[int, str]]:
        """(due_ms, id) of every event."""
        return ((row["due_ms"], row["id"]) for row in self._db.execute("SELECT due_ms, id FROM events"))


def tried(event: Event, payload: bytes, executed_version: str) -> Event:
    """The event after the function has failed on it."""
    return replace(event, attempts=event.attempts + 1, result=payload, executed_version=executed_version)
