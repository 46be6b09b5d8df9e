"""Metrics on disk: series and their points by the minute (custom metrics: by the second), in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from preheat.kernel.database import connect, transaction
from preheat.services.metrics.points import Point

Dimensions = tuple[tuple[str, str], ...]
"""(name, value) pairs in order of name."""

_KEPT_S = 63 * 86_400
"""CloudWatch keeps finer than hourly points for 63 days; older ones are deleted here, not rolled up."""

_MIGRATIONS = (
    """
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL, dimensions TEXT NOT NULL,
        unit TEXT NOT NULL, latest_s INTEGER NOT NULL, UNIQUE (namespace, name, dimensions, unit)
    ) STRICT;
    CREATE TABLE points (
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE, at_s INTEGER NOT NULL, count REAL NOT NULL,
        total REAL NOT NULL, low REAL NOT NULL, high REAL NOT NULL, spread BLOB NOT NULL, PRIMARY KEY (series, at_s)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE progress (source TEXT PRIMARY KEY, file INTEGER NOT NULL, offset INTEGER NOT NULL) STRICT
    """,
)
_spread = msgspec.msgpack.Decoder(dict[float, float])


@dataclass(frozen=True, slots=True)
class Series:
    namespace: str
    name: str
    dimensions: Dimensions
    unit: str


class MetricStore:
    """All methods run on one thread: the one that made it."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, _MIGRATIONS)
        self._ids: dict[Series, int] = {}

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction: points and the progress that explains them are written both or not at all."""
        try:
            with transaction(self._db):
                yield
        except BaseException:
            self._ids.clear()
            raise

    # writing

    def add(self, points: Mapping[tuple[Series, int], Point]) -> None:
        """Add to what is there already. Keys are (series, epoch seconds)."""
        for (series, at_s), point in points.items():
            series_id = self._id(series, at_s)
            found = self._db.execute("SELECT * FROM points WHERE series = ? AND at_s = ?", (series_id, at_s)).fetchone()
            if found is not None:
                whole = _point(found)
                whole.merge(point)
                point = whole
            self._write(series_id, at_s, point)

    def replace(self, points: Mapping[tuple[Series, int], Point]) -> None:
        for (series, at_s), point in points.items():
            self._write(self._id(series, at_s), at_s, point)

    def _write(self, series_id: int, at_s: int, point: Point) -> None:
        row = (series_id, at_s, point.count, point.total, point.low, point.high, msgspec.msgpack.encode(point.spread))
        self._db.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _id(self, series: Series, at_s: int) -> int:
        key = (series.namespace, series.name, _text(series.dimensions), series.unit)
        if series not in self._ids:
            self._db.execute(
                "INSERT OR IGNORE INTO series (namespace, name, dimensions, unit, latest_s) VALUES (?, ?, ?, ?, 0)", key
            )
            where = "namespace = ? AND name = ? AND dimensions = ? AND unit = ?"
            (self._ids[series],) = self._db.execute(f"SELECT id FROM series WHERE {where}", key).fetchone()
        series_id = self._ids[series]
        self._db.execute("UPDATE series SET latest_s = ? WHERE id = ? AND latest_s < ?", (at_s, series_id, at_s))
        return series_id

    def forget_before(self, now_s: int) -> None:
        """Delete what is older than anybody may ask for."""
        self._db.execute("DELETE FROM points WHERE at_s < ?", (now_s - _KEPT_S,))
        self._db.execute("DELETE FROM series WHERE latest_s < ?", (now_s - _KEPT_S,))
        self._ids.clear()

    # how far a source has been read

    def progress(self, source: str) -> tuple[int, int]:
        """(file, offset) up to which a source's points are in here."""
        found = self._db.execute("SELECT file, offset FROM progress WHERE source = ?", (source,)).fetchone()
        return (found["file"], found["offset"]) if found else (0, 0)

    def set_progress(self, source: str, file: int, offset: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", (source, file, offset))

    # reading

    def series(self, namespace: str | None = None, name: str | None = None) -> Iterator[tuple[Series, int]]:
        """(series, epoch seconds of its newest point), in order of namespace, name and dimensions."""
        wanted = {"namespace": namespace, "name": name}
        chosen = {column: value for column, value in wanted.items() if value is not None}
        where = " AND ".join(f"{column} = ?" for column in chosen) or "1"
        order = "ORDER BY namespace, name, dimensions, unit"
        for row in self._db.execute(f"SELECT * FROM series WHERE {where} {order}", tuple(chosen.values())):
            yield _series(row), row["latest_s"]

    def points(self, series: Iterable[Series], start_s: int, end_s: int) -> Iterator[tuple[int, Point]]:
        """(epoch seconds, point) of several series with start_s <= time < end_s."""
        for one in series:
            key = (one.namespace, one.name, _text(one.dimensions), one.unit, start_s, end_s)
            statement = (
                "SELECT points.* FROM points JOIN series ON series.id = points.series WHERE namespace = ? AND name = ? "
                "AND dimensions = ? AND unit = ? AND at_s >= ? AND at_s < ? ORDER BY at_s"
            )
            for row in self._db.execute(statement, key):
                yield row["at_s"], _point(row)


def _series(row: sqlite3.Row) -> Series:
    pairs = tuple((name, value) for name, value in msgspec.json.decode(row["dimensions"]))
    return Series(row["namespace"], row["name"], pairs, row["unit"])


def _point(row: sqlite3.Row) -> Point:
    return Point(row["count"], row["total"], row["low"], row["high"], _spread.decode(row["spread"]))


def _text(dimensions: Dimensions) -> str:
    return msgspec.json.encode(dimensions).decode()
