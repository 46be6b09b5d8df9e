"""Functions, their versions and attachments, and layers at rest: SQLite beneath, dicts above, written through."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec

from preheat.kernel.database import connect, transaction
from preheat.services.lambda_.attachments import Attached, SigningConfig
from preheat.services.lambda_.layer_models import Layer
from preheat.services.lambda_.models import LATEST, Function
from preheat.services.lambda_.pages import version_key

_MIGRATIONS = (
    "CREATE TABLE functions (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT",
    """
    CREATE TABLE versions (
        name TEXT NOT NULL, version TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (name, version)
    ) STRICT;
    CREATE TABLE attached (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    INSERT INTO versions SELECT name, '$LATEST',
        json_set(document, '$.pool_id', json_extract(document, '$.revision_id')) FROM functions;
    INSERT INTO attached SELECT name, json_object(
        'tags', json(json_extract(document, '$.tags')),
        'reserved_concurrency', json_extract(document, '$.reserved_concurrency'),
        'policies', json_object('$LATEST', json(json_extract(document, '$.policy')))) FROM functions;
    DROP TABLE functions;
    CREATE TABLE layers (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE events (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, qualifier TEXT NOT NULL, payload BLOB NOT NULL,
        client_context TEXT NOT NULL, trace_id TEXT NOT NULL, accepted_ms INTEGER NOT NULL,
        attempts INTEGER NOT NULL, refusals INTEGER NOT NULL, due_ms INTEGER NOT NULL,
        result BLOB NOT NULL, executed_version TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_name ON events (name)
    """,
    "CREATE TABLE code_signing (id TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT",
)
_INCREMENTAL = 2
"""PRAGMA auto_vacuum (sqlite.org/pragma.html)."""


class FunctionStore:
    """Everything by name. What a `put`, `attach` or `delete` has returned from survives `kill -9`.

    `db` is for the event queue, which keeps its own table in the same file.
    """

    def __init__(self, path: Path) -> None:
        self.db: sqlite3.Connection = connect(path, _MIGRATIONS)
        _let_it_shrink(self.db)
        self._functions: dict[str, dict[str, Function]] = {}
        for row in self.db.execute("SELECT document FROM versions"):
            self._keep(msgspec.json.decode(row["document"], type=Function))
        self._attached = {
            row["name"]: msgspec.json.decode(row["document"], type=Attached)
            for row in self.db.execute("SELECT name, document FROM attached")
        }
        self._layers = {
            row["name"]: msgspec.json.decode(row["document"], type=Layer)
            for row in self.db.execute("SELECT name, document FROM layers")
        }

    def _keep(self, function: Function) -> None:
        self._functions.setdefault(function.name, {})[function.version] = function

    def together(self) -> AbstractContextManager[None]:
        """All writes within are kept, or none. No awaiting inside, and nothing that may be refused."""
        return transaction(self.db)

    def get(self, name: str, version: str = LATEST) -> Function | None:
        return self._functions.get(name, {}).get(version)

    def put(self, function: Function) -> None:
        document = msgspec.json.encode(function).decode()
        self.db.execute("INSERT OR REPLACE INTO versions VALUES (?, ?, ?)", (function.name, function.version, document))
        self._keep(function)

    def versions(self, name: str) -> list[Function]:
        """$LATEST and the published versions, oldest first."""
        return sorted(self._functions.get(name, {}).values(), key=lambda function: version_key(function.version))

    def attached(self, name: str) -> Attached:
        return self._attached.get(name) or Attached()

    def attach(self, name: str, attached: Attached) -> None:
        document = msgspec.json.encode(attached).decode()
        self.db.execute("INSERT OR REPLACE INTO attached VALUES (?, ?)", (name, document))
        self._attached[name] = attached

    def delete_version(self, name: str, version: str) -> None:
        self.db.execute("DELETE FROM versions WHERE name = ? AND version = ?", (name, version))
        self._functions.get(name, {}).pop(version, None)

    def delete(self, name: str) -> None:
        """The function with all versions, what is attached, and its events."""
        with self.together():
            for table in ("versions", "attached", "events"):
                self.db.execute(f"DELETE FROM {table} WHERE name = ?", (name,))
        self._functions.pop(name, None)
        self._attached.pop(name, None)

    def __iter__(self) -> Iterator[Function]:
        """Every function's $LATEST, in order of name."""
        return iter([self._functions[name][LATEST] for name in sorted(self._functions)])

    def __len__(self) -> int:
        return len(self._functions)

    # layers

    @property
    def layers(self) -> list[Layer]:
        return list(self._layers.values())

    def layer(self, name: str) -> Layer | None:
        return self._layers.get(name)

    def put_layer(self, layer: Layer) -> None:
        document = msgspec.json.encode(layer).decode()
        self.db.execute("INSERT OR REPLACE INTO layers VALUES (?, ?)", (layer.name, document))
        self._layers[layer.name] = layer

    # code signing configurations, by id; few and rarely asked for

    @property
    def signing_configs(self) -> list[SigningConfig]:
        rows = self.db.execute("SELECT document FROM code_signing ORDER BY id")
        return [msgspec.json.decode(row["document"], type=SigningConfig) for row in rows]

    def put_signing_config(self, config: SigningConfig) -> None:
        document = msgspec.json.encode(config).decode()
        self.db.execute("INSERT OR REPLACE INTO code_signing VALUES (?, ?)", (config.id, document))

    def delete_signing_config(self, config_id: str) -> None:
        self.db.execute("DELETE FROM code_signing WHERE id = ?", (config_id,))

    def close(self) -> None:
        self.db.close()


def _let_it_shrink(db: sqlite3.Connection) -> None:
    """Have SQLite keep what `PRAGMA incremental_vacuum` needs; a file made without is written anew, once."""
    (mode,) = db.execute("PRAGMA auto_vacuum").fetchone()
    if mode != _INCREMENTAL:
        db.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
        db.execute("VACUUM")
