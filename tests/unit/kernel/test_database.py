import sqlite3
from pathlib import Path

import pytest

from preheat.kernel.database import connect, transaction


def test_migrations_run_once_and_in_order(tmp_path: Path) -> None:
    first = "CREATE TABLE t (a TEXT) STRICT"
    db = connect(tmp_path / "x.db", [first])
    db.execute("INSERT INTO t VALUES ('kept')")
    db.close()
    db = connect(tmp_path / "x.db", [first, "ALTER TABLE t ADD COLUMN b TEXT DEFAULT 'new'"])
    assert [tuple(row) for row in db.execute("SELECT a, b FROM t")] == [("kept", "new")]
    assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    db.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    connect(tmp_path / "x.db", ["CREATE TABLE t (a TEXT)", "SELECT 1"]).close()
    with pytest.raises(RuntimeError, match="newer preheat"):
        connect(tmp_path / "x.db", ["CREATE TABLE t (a TEXT)"])


def put(db: sqlite3.Connection, *values: object) -> None:
    with transaction(db):
        for value in values:
            db.execute("INSERT INTO t VALUES (?)", (value,))


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    db = connect(tmp_path / "x.db", ["CREATE TABLE t (a INTEGER) STRICT"])
    with pytest.raises(sqlite3.IntegrityError):
        put(db, 1, "not a number")
    put(db, 2, 3)
    assert [row["a"] for row in db.execute("SELECT a FROM t")] == [2, 3]
    db.close()
