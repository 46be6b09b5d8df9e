"""GetAccount and UpdateAccount: the role that API Gateway writes logs with, which infrastructure tools set first."""

from __future__ import annotations

from typing import Any

from preheat.aws.context import OperationContext
from preheat.services.apigateway.models import AccountSettings, present, wire
from preheat.services.apigateway.patch import patch_members, patches
from preheat.services.apigateway.store import Store

_ONLY = "account"
_SHOWN: dict[str, Any] = {
    "throttleSettings": {"burstLimit": 5000, "rateLimit": 10000.0},
    "features": ["UsagePlans"],
    "apiKeyVersion": "4",
}
"""What a new account has: the default quotas of the developer guide, usage plans enabled."""


class AccountOperations:
    """The role is kept and shown; logs are written without one."""

    _store: Store

    def get_account(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {**_SHOWN, **wire(self._settings())}

    def update_account(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """`/cloudwatchRoleArn` can be replaced (API reference, "Patch operations"), with an empty text to remove it."""
        members = {"cloudwatchRoleArn": ("cloudwatch_role_arn", present)}
        changed = patch_members(self._settings(), patches(params), members)
        self._store.put_account_part("settings", _ONLY, changed)
        return {**_SHOWN, **wire(changed)}

    def _settings(self) -> AccountSettings:
        return self._store.settings.get(_ONLY) or AccountSettings()
