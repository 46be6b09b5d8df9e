"""All HTTP APIs of this cloud: documents by botocore's member names, in memory and in SQLite."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from preheat.kernel.database import connect

MIGRATIONS = (
    """
    CREATE TABLE parts (
        api_id TEXT NOT NULL, kind TEXT NOT NULL, id TEXT NOT NULL, document BLOB NOT NULL,
        PRIMARY KEY (api_id, kind, id)) STRICT
    """,
)
KINDS = ("api", "routes", "integrations", "stages", "deployments", "authorizers")
_DATES = ("CreatedDate", "LastUpdatedDate")
Document = dict[str, Any]


class HttpApi:
    """One API. Documents are replaced, never changed in place; `changes` counts replacements."""

    def __init__(self, api: Document) -> None:
        self.api = api
        self.routes: dict[str, Document] = {}
        self.integrations: dict[str, Document] = {}
        self.stages: dict[str, Document] = {}
        self.deployments: dict[str, Document] = {}
        self.authorizers: dict[str, Document] = {}
        self.changes = 0

    def snapshot(self) -> Document:
        """What a deployment keeps."""
        return {
            "routes": self.routes.copy(),
            "integrations": self.integrations.copy(),
            "authorizers": self.authorizers.copy(),
        }


class HttpApiStore:
    """What a method has returned from survives `kill -9`; memory changes only after the database did."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, MIGRATIONS)
        self.apis: dict[str, HttpApi] = {}
        rows = self._db.execute("SELECT * FROM parts ORDER BY kind != 'api', rowid").fetchall()
        for row in rows:
            self._remember(row["api_id"], row["kind"], row["id"], _decoded(row["document"]))

    def close(self) -> None:
        self._db.close()

    def put(self, api_id: str, kind: str, key: str, document: Document) -> None:
        self._db.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
            (api_id, kind, key, msgspec.json.encode(document)),
        )
        self._remember(api_id, kind, key, document)

    def delete(self, api_id: str, kind: str, key: str) -> None:
        self._db.execute("DELETE FROM parts WHERE api_id = ? AND kind = ? AND id = ?", (api_id, kind, key))
        del getattr(self.apis[api_id], kind)[key]
        self.apis[api_id].changes += 1

    def delete_api(self, api_id: str) -> None:
        self._db.execute("DELETE FROM parts WHERE api_id = ?", (api_id,))
        del self.apis[api_id]

    def _remember(self, api_id: str, kind: str, key: str, document: Document) -> None:
        if kind != "api":
            getattr(self.apis[api_id], kind)[key] = document
        elif api_id in self.apis:
            self.apis[api_id].api = document
        else:
            self.apis[api_id] = HttpApi(document)
        self.apis[api_id].changes += 1


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _decoded(raw: bytes) -> Document:
    document: Document = msgspec.json.decode(raw)
    for name in _DATES:
        if name in document:
            document[name] = datetime.fromisoformat(document[name])
    return document
