"""Roles, policies and assumed-role sessions, in SQLite alone: nobody asks for them on a hot path."""

from __future__ import annotations

import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from preheat.kernel.database import connect

_MIGRATIONS = (
    """
    CREATE TABLE roles (name TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT;
    CREATE TABLE sessions (
        access_key_id TEXT PRIMARY KEY, arn TEXT NOT NULL, user_id TEXT NOT NULL, expires_s INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE TABLE policies (arn TEXT PRIMARY KEY, document TEXT NOT NULL) STRICT",
)
LAB_ROLE = "LabRole"
"""The role that AWS Academy's learner labs give; here it is present from the start."""

TRUST_LAMBDA = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow",'
    '"Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
)


@dataclass(frozen=True, slots=True)
class Role:
    name: str
    arn: str
    role_id: str
    created: datetime
    trust_policy: str
    path: str = "/"
    description: str = ""
    max_session_s: int = 3600
    tags: tuple[Mapping[str, str], ...] = ()
    attached: Mapping[str, str] = field(default_factory=dict)
    """Names of managed policies, by ARN."""
    inline: Mapping[str, str] = field(default_factory=dict)
    """Documents of the role's own policies, by name."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A managed policy; `document` is what was given."""

    arn: str
    name: str
    policy_id: str
    path: str
    created: datetime
    document: str
    description: str = ""


def new_id(prefix: str) -> str:
    """A unique id as IAM makes them: AROA for roles, ASIA for temporary keys, then 16 letters and digits."""
    alphabet = string.ascii_uppercase + "234567"
    return prefix + "".join(secrets.choice(alphabet) for _ in range(16))


class IdentityStore:
    """What has been stored survives `kill -9`; `LabRole` is always there."""

    def __init__(self, data_dir: Path, account_id: str) -> None:
        self._db = connect(data_dir / "identity.db", _MIGRATIONS)
        if self.role(LAB_ROLE) is None:
            arn = f"arn:aws:iam::{account_id}:role/{LAB_ROLE}"
            self.put_role(Role(LAB_ROLE, arn, new_id("AROA"), datetime.now(UTC), TRUST_LAMBDA))

    def role(self, name: str) -> Role | None:
        row = self._db.execute("SELECT document FROM roles WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.json.decode(row["document"], type=Role)

    def roles(self) -> list[Role]:
        """In order of name."""
        rows = self._db.execute("SELECT document FROM roles ORDER BY name")
        return [msgspec.json.decode(row["document"], type=Role) for row in rows]

    def put_role(self, role: Role) -> None:
        document = msgspec.json.encode(role).decode()
        self._db.execute("INSERT OR REPLACE INTO roles VALUES (?, ?)", (role.name, document))

    def delete_role(self, name: str) -> None:
        self._db.execute("DELETE FROM roles WHERE name = ?", (name,))

    def policy(self, arn: str) -> Policy | None:
        row = self._db.execute("SELECT document FROM policies WHERE arn = ?", (arn,)).fetchone()
        return None if row is None else msgspec.json.decode(row["document"], type=Policy)

    def policies(self) -> list[Policy]:
        """In order of name."""
        rows = self._db.execute("SELECT document FROM policies")
        found = [msgspec.json.decode(row["document"], type=Policy) for row in rows]
        return sorted(found, key=lambda policy: policy.name)

    def put_policy(self, policy: Policy) -> None:
        document = msgspec.json.encode(policy).decode()
        self._db.execute("INSERT OR REPLACE INTO policies VALUES (?, ?)", (policy.arn, document))

    def delete_policy(self, arn: str) -> None:
        self._db.execute("DELETE FROM policies WHERE arn = ?", (arn,))

    def put_session(self, access_key_id: str, arn: str, user_id: str, expires_s: int) -> None:
        """Remember whose a temporary key is, and forget the expired ones."""
        self._db.execute("DELETE FROM sessions WHERE expires_s < ?", (int(time.time()),))
        self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", (access_key_id, arn, user_id, expires_s))

    def session(self, access_key_id: str) -> tuple[str, str] | None:
        """(arn, user id) of a temporary key that has not expired."""
        statement = "SELECT arn, user_id FROM sessions WHERE access_key_id = ? AND expires_s >= ?"
        row = self._db.execute(statement, (access_key_id, int(time.time()))).fetchone()
        return None if row is None else (row["arn"], row["user_id"])

    def close(self) -> None:
        self._db.close()
