"""All REST APIs of this cloud: in memory for the hot path, written through to SQLite first."""

from __future__ import annotations

import secrets
import sqlite3
import string
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from preheat.kernel.database import connect, transaction
from preheat.services.apigateway.models import (
    AccountSettings,
    ApiKey,
    Authorizer,
    CustomResponse,
    Deployment,
    Model,
    RequestValidator,
    Resource,
    RestApi,
    Stage,
    UsagePlan,
    UsagePlanKey,
)

MIGRATIONS = (
    """
    CREATE TABLE rest_apis (id TEXT PRIMARY KEY, document BLOB NOT NULL) STRICT;
    CREATE TABLE resources (
        api_id TEXT NOT NULL REFERENCES rest_apis ON DELETE CASCADE,
        id TEXT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (api_id, id)) STRICT;
    CREATE TABLE deployments (
        api_id TEXT NOT NULL REFERENCES rest_apis ON DELETE CASCADE,
        id TEXT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (api_id, id)) STRICT;
    CREATE TABLE stages (
        api_id TEXT NOT NULL REFERENCES rest_apis ON DELETE CASCADE,
        id TEXT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (api_id, id)) STRICT
    """,
    """
    CREATE TABLE parts (
        api_id TEXT NOT NULL REFERENCES rest_apis ON DELETE CASCADE,
        kind TEXT NOT NULL, id TEXT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (api_id, kind, id)) STRICT;
    CREATE TABLE account_parts (
        kind TEXT NOT NULL, id TEXT NOT NULL, document BLOB NOT NULL, PRIMARY KEY (kind, id)) STRICT;
    CREATE TABLE usage (
        plan_id TEXT NOT NULL, key_id TEXT NOT NULL, day TEXT NOT NULL, used INTEGER NOT NULL,
        PRIMARY KEY (plan_id, key_id, day)) STRICT
    """,
)

PARTS: dict[str, type[msgspec.Struct]] = {
    "models": Model,
    "validators": RequestValidator,
    "authorizers": Authorizer,
    "gateway_responses": CustomResponse,
}
"""What an API has besides resources, deployments and stages: attributes of `ApiState`."""
ACCOUNT_PARTS: dict[str, type[msgspec.Struct]] = {
    "api_keys": ApiKey,
    "usage_plans": UsagePlan,
    "usage_plan_keys": UsagePlanKey,
    "settings": AccountSettings,
}
"""What belongs to the account: attributes of `Store`."""

_ALPHABET = string.ascii_lowercase + string.digits
_V = TypeVar("_V", bound=msgspec.Struct)


def new_id(length: int) -> str:
    """An identifier as AWS makes them: 10 characters for an API, 6 for a resource or deployment."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class ApiState:
    """One API and all that belongs to it. `children` maps a resource to its children by path part."""

    def __init__(self, rest_api: RestApi) -> None:
        self.rest_api = rest_api
        self.resources: dict[str, Resource] = {}
        self.children: dict[str, dict[str, str]] = {}
        self.deployments: dict[str, Deployment] = {}
        self.stages: dict[str, Stage] = {}
        self.models: dict[str, Model] = {}
        self.validators: dict[str, RequestValidator] = {}
        self.authorizers: dict[str, Authorizer] = {}
        self.gateway_responses: dict[str, CustomResponse] = {}

    def descendants(self, resource_id: str) -> Iterator[Resource]:
        """Everything below a resource, parents before their children."""
        for child_id in self.children.get(resource_id, {}).values():
            yield self.resources[child_id]
            yield from self.descendants(child_id)

    def attach(self, resource: Resource) -> None:
        self.detach(resource.id)
        self.resources[resource.id] = resource
        if isinstance(resource.parent_id, str) and isinstance(resource.path_part, str):
            self.children.setdefault(resource.parent_id, {})[resource.path_part] = resource.id

    def detach(self, resource_id: str) -> None:
        old = self.resources.pop(resource_id, None)
        if old is not None and isinstance(old.parent_id, str) and isinstance(old.path_part, str):
            self.children.get(old.parent_id, {}).pop(old.path_part, None)


class Store:
    """What a method has returned from survives `kill -9`; memory changes only after the database did."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path, MIGRATIONS)
        self.apis: dict[str, ApiState] = {}
        self.api_keys: dict[str, ApiKey] = {}
        self.usage_plans: dict[str, UsagePlan] = {}
        self.usage_plan_keys: dict[str, UsagePlanKey] = {}
        """By "<plan id>/<key id>"."""
        self.settings: dict[str, AccountSettings] = {}
        self.usage: dict[tuple[str, str], dict[str, int]] = {}
        """(plan id, key id) -> requests by day, YYYY-MM-DD."""
        self.keys_changed = 0
        """Counts every change of keys and plans, for those who keep an index."""
        self._load()

    def close(self) -> None:
        self._db.close()

    def put_api(self, rest_api: RestApi) -> None:
        self._write("rest_apis", None, rest_api.id, rest_api)
        if rest_api.id in self.apis:
            self.apis[rest_api.id].rest_api = rest_api
        else:
            self.apis[rest_api.id] = ApiState(rest_api)

    def create_api(self, rest_api: RestApi, root: Resource, models: Iterable[Model] = ()) -> None:
        born_with = list(models)
        with transaction(self._db):
            self._write("rest_apis", None, rest_api.id, rest_api)
            self._write("resources", rest_api.id, root.id, root)
            for model in born_with:
                self._write_part(rest_api.id, "models", model.name, model)
        state = self.apis[rest_api.id] = ApiState(rest_api)
        state.attach(root)
        state.models.update((model.name, model) for model in born_with)

    def copy_api(self, api_id: str, copy_id: str) -> None:
        """Make a second API with the first one's definition (not its deployments and stages), under another id."""
        old = self.apis[api_id]
        root = old.resources[old.rest_api.root_resource_id]
        rest_api = msgspec.structs.replace(old.rest_api, id=copy_id)
        self.create_api(rest_api, root, old.models.values())
        self.put_resources(copy_id, old.resources.values())
        for kind in PARTS:
            for key, value in getattr(old, kind).items():
                self.put_part(copy_id, kind, key, value)

    def put_part(self, api_id: str, kind: str, key: str, value: msgspec.Struct) -> None:
        """`kind` is one of PARTS."""
        self._write_part(api_id, kind, key, value)
        getattr(self.apis[api_id], kind)[key] = value

    def delete_part(self, api_id: str, kind: str, key: str) -> None:
        self._db.execute("DELETE FROM parts WHERE api_id = ? AND kind = ? AND id = ?", (api_id, kind, key))
        del getattr(self.apis[api_id], kind)[key]

    def put_account_part(self, kind: str, key: str, value: msgspec.Struct) -> None:
        """`kind` is one of ACCOUNT_PARTS."""
        self._db.execute(
            "INSERT INTO account_parts VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
            (kind, key, msgspec.json.encode(value)),
        )
        getattr(self, kind)[key] = value
        self.keys_changed += 1

    def delete_account_parts(self, kind: str, keys: Iterable[str]) -> None:
        for key in list(keys):
            self._db.execute("DELETE FROM account_parts WHERE kind = ? AND id = ?", (kind, key))
            del getattr(self, kind)[key]
        self.keys_changed += 1

    def put_usage(self, plan_id: str, key_id: str, day: str, used: int) -> None:
        self._db.execute(
            "INSERT INTO usage VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used",
            (plan_id, key_id, day, used),
        )
        self.usage.setdefault((plan_id, key_id), {})[day] = used

    def delete_api(self, api_id: str) -> None:
        self._db.execute("DELETE FROM rest_apis WHERE id = ?", (api_id,))
        del self.apis[api_id]

    def put_resources(self, api_id: str, resources: Iterable[Resource]) -> None:
        changed = list(resources)
        with transaction(self._db):
            for resource in changed:
                self._write("resources", api_id, resource.id, resource)
        for resource in changed:
            self.apis[api_id].attach(resource)

    def delete_resources(self, api_id: str, resource_ids: Iterable[str]) -> None:
        gone = list(resource_ids)
        with transaction(self._db):
            for resource_id in gone:
                self._db.execute("DELETE FROM resources WHERE api_id = ? AND id = ?", (api_id, resource_id))
        for resource_id in gone:
            self.apis[api_id].detach(resource_id)
            self.apis[api_id].children.pop(resource_id, None)

    def put_deployment(self, api_id: str, deployment: Deployment, stage: Stage | None = None) -> None:
        """Write a deployment and, in the same transaction, the stage that it creates or moves."""
        with transaction(self._db):
            self._write("deployments", api_id, deployment.id, deployment)
            if stage is not None:
                self._write("stages", api_id, stage.stage_name, stage)
        self.apis[api_id].deployments[deployment.id] = deployment
        if stage is not None:
            self.apis[api_id].stages[stage.stage_name] = stage

    def delete_deployment(self, api_id: str, deployment_id: str) -> None:
        self._db.execute("DELETE FROM deployments WHERE api_id = ? AND id = ?", (api_id, deployment_id))
        del self.apis[api_id].deployments[deployment_id]

    def put_stage(self, api_id: str, stage: Stage) -> None:
        self._write("stages", api_id, stage.stage_name, stage)
        self.apis[api_id].stages[stage.stage_name] = stage

    def delete_stage(self, api_id: str, stage_name: str) -> None:
        self._db.execute("DELETE FROM stages WHERE api_id = ? AND id = ?", (api_id, stage_name))
        del self.apis[api_id].stages[stage_name]

    def _write(self, table: str, api_id: str | None, key: str, value: msgspec.Struct) -> None:
        document = msgspec.json.encode(value)
        if api_id is None:
            self._db.execute(
                f"INSERT INTO {table} (id, document) VALUES (?, ?) "
                "ON CONFLICT DO UPDATE SET document = excluded.document",
                (key, document),
            )
        else:
            self._db.execute(
                f"INSERT INTO {table} (api_id, id, document) VALUES (?, ?, ?) "
                "ON CONFLICT DO UPDATE SET document = excluded.document",
                (api_id, key, document),
            )

    def _write_part(self, api_id: str, kind: str, key: str, value: msgspec.Struct) -> None:
        self._db.execute(
            "INSERT INTO parts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET document = excluded.document",
            (api_id, kind, key, msgspec.json.encode(value)),
        )

    def _load(self) -> None:
        for row in self._rows("rest_apis"):
            self.apis[row["id"]] = ApiState(msgspec.json.decode(row["document"], type=RestApi))
        for api_id, resource in self._values("resources", Resource):
            self.apis[api_id].attach(resource)
        for api_id, deployment in self._values("deployments", Deployment):
            self.apis[api_id].deployments[deployment.id] = deployment
        for api_id, stage in self._values("stages", Stage):
            self.apis[api_id].stages[stage.stage_name] = stage
        for row in self._rows("parts"):
            part = msgspec.json.decode(row["document"], type=PARTS[row["kind"]])
            getattr(self.apis[row["api_id"]], row["kind"])[row["id"]] = part
        for row in self._rows("account_parts"):
            getattr(self, row["kind"])[row["id"]] = msgspec.json.decode(
                row["document"], type=ACCOUNT_PARTS[row["kind"]]
            )
        for row in self._rows("usage"):
            self.usage.setdefault((row["plan_id"], row["key_id"]), {})[row["day"]] = row["used"]

    def _values(self, table: str, kind: type[_V]) -> Iterator[tuple[str, _V]]:
        for row in self._rows(table):
            yield row["api_id"], msgspec.json.decode(row["document"], type=kind)

    def _rows(self, table: str) -> list[sqlite3.Row]:
        return self._db.execute(f"SELECT * FROM {table} ORDER BY rowid").fetchall()
