"""Functions at rest: SQLite beneath, a dict above, written through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from preheat.kernel.database import connect
from preheat.services.lambda_.models import Function

_MIGRATIONS = ("CREATE TABLE functions (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT",)


class FunctionStore:
    """All functions by name. What `put` and `delete` have returned from survives `kill -9`."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, _MIGRATIONS)
        rows = self._db.execute("SELECT document FROM functions ORDER BY name")
        documents = (msgspec.json.decode(row["document"], type=Function) for row in rows)
        self._functions = {function.name: function for function in documents}

    def get(self, name: str) -> Function | None:
        return self._functions.get(name)

    def put(self, function: Function) -> None:
        document = msgspec.json.encode(function).decode()
        self._db.execute("INSERT OR REPLACE INTO functions VALUES (?, ?)", (function.name, document))
        self._functions[function.name] = function

    def delete(self, name: str) -> None:
        self._db.execute("DELETE FROM functions WHERE name = ?", (name,))
        self._functions.pop(name, None)

    def __iter__(self) -> Iterator[Function]:
        """In order of name."""
        return iter([self._functions[name] for name in sorted(self._functions)])

    def __len__(self) -> int:
        return len(self._functions)

    def close(self) -> None:
        self._db.close()
