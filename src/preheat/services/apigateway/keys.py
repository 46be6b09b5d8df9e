"""Operations on API keys, usage plans and the keys in them."""

from __future__ import annotations

import secrets
import string
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import ApiOperations
from preheat.services.apigateway.buckets import period_start, used_since
from preheat.services.apigateway.models import ApiKey, Quota, UsagePlan, UsagePlanKey, present, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import boolean, patch_members, patches, text
from preheat.services.apigateway.plans import checked, patched_plan, plan_from
from preheat.services.apigateway.store import new_id

_MIN_VALUE_CHARS, _MAX_VALUE_CHARS = 20, 128
_MAX_NAME_CHARS, _MAX_DESCRIPTION_CHARS = 1024, 125_000
"""Limits and words as localstack has them from AWS (its provider's create_api_key and update_api_key)."""
_ALPHABET = string.ascii_letters + string.digits


class KeyOperations(ApiOperations):
    """Create, Get, Update, Delete of ApiKey, UsagePlan and UsagePlanKey; GetUsage."""

    def create_api_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).replace(microsecond=0)
        key = ApiKey(
            id=new_id(10),
            value=_value(params.get("value")),
            name=present(params.get("name") or None),
            customer_id=present(params.get("customerId")),
            description=present(params.get("description")),
            enabled=params.get("enabled") or False,
            created_date=now,
            last_updated_date=now,
            tags=present(params.get("tags")),
        )
        _check_lengths(key)
        if params.get("stageKeys"):
            raise errors.not_built("stageKeys (put the key in a usage plan)")
        if any(other.value == key.value for other in self._store.api_keys.values()):
            raise errors.conflict("API Key already exists")
        self._store.put_account_part("api_keys", key.id, key)
        return wire(key)

    def get_api_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return _shown(self._key(params["apiKey"]), params.get("includeValue"))

    def get_api_keys(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, customer = params.get("nameQuery") or "", params.get("customerId")
        keys = [
            key
            for key in self._store.api_keys.values()
            if str(key.name or "").startswith(name) and customer in (None, key.customer_id)
        ]
        return page([_shown(key, params.get("includeValues")) for key in reversed(keys)], params)

    def update_api_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        key = patch_members(
            self._key(params["apiKey"]),
            patches(params),
            {
                "description": ("description", text),
                "enabled": ("enabled", boolean),
                "name": ("name", text),
                "customerId": ("customer_id", text),
            },
        )
        _check_lengths(key)
        key = msgspec.structs.replace(key, last_updated_date=datetime.now(UTC).replace(microsecond=0))
        self._store.put_account_part("api_keys", key.id, key)
        return {"tags": {}, **_shown(key, include_value=False)}  # empty tags are shown here (recorded)

    def delete_api_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        key = self._key(params["apiKey"])
        memberships = [name for name in self._store.usage_plan_keys if name.endswith(f"/{key.id}")]
        self._store.delete_account_parts("usage_plan_keys", memberships)
        self._store.delete_account_parts("api_keys", [key.id])
        return {}

    def create_usage_plan(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        plan = checked(plan_from(new_id(6), params), self._store, is_new=True)
        self._store.put_account_part("usage_plans", plan.id, plan)
        return wire(plan)

    def get_usage_plan(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"tags": {}, **wire(self._plan(params))}  # as in the list and at creation they are not (recorded)

    def get_usage_plans(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        wanted = params.get("keyId")
        plans = [
            plan
            for plan in self._store.usage_plans.values()
            if wanted is None or f"{plan.id}/{wanted}" in self._store.usage_plan_keys
        ]
        return page([wire(plan) for plan in plans], params)

    def update_usage_plan(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan(params)
        for patch in patches(params):
            plan = patched_plan(plan, patch)
        self._store.put_account_part("usage_plans", plan.id, checked(plan, self._store))
        return {"tags": {}, **wire(plan)}

    def delete_usage_plan(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan(params)
        if plan.api_stages:
            raise errors.bad_request("Cannot delete Usage Plan, it has associated API stages")
        memberships = [name for name in self._store.usage_plan_keys if name.startswith(f"{plan.id}/")]
        self._store.delete_account_parts("usage_plan_keys", memberships)
        self._store.delete_account_parts("usage_plans", [plan.id])
        return {}

    def create_usage_plan_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        plan = self._plan(params)
        if params.get("keyType") != "API_KEY":
            raise errors.bad_request("Usage Plan Key type must be API_KEY")
        key = self._key(params["keyId"])
        name = f"{plan.id}/{key.id}"
        if name in self._store.usage_plan_keys:
            raise errors.conflict(f"Usage Plan {plan.id} already has this key")
        member = UsagePlanKey(id=key.id, value=key.value, name=key.name)
        self._store.put_account_part("usage_plan_keys", name, member)
        return wire(member)

    def get_usage_plan_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._membership(params)[1])

    def get_usage_plan_keys(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Newest first, as keys are listed, too; a plan that does not exist has none (both recorded)."""
        prefix, wanted = f"{params['usagePlanId']}/", params.get("nameQuery") or ""
        members = [
            wire(member)
            for name, member in self._store.usage_plan_keys.items()
            if name.startswith(prefix) and str(member.name or "").startswith(wanted)
        ]
        return page(members[::-1], params)

    def delete_usage_plan_key(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.delete_account_parts("usage_plan_keys", [self._membership(params)[0]])
        return {}

    def get_usage(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """For each key and day: [used, left of the quota at that day's end] (API reference, GetUsage)."""
        plan = self._plan(params)
        first, last = _day(params["startDate"]), _day(params["endDate"])
        if last < first:
            raise errors.bad_request("Usage end date must not be before the start date")
        wanted = params.get("keyId")
        items = {
            key_id: _daily(plan, usage, first, last)
            for (plan_id, key_id), usage in self._store.usage.items()
            if plan_id == plan.id and wanted in (None, key_id)
        }
        return {"usagePlanId": plan.id, "startDate": params["startDate"], "endDate": params["endDate"], "items": items}

    def _key(self, key_id: str) -> ApiKey:
        key = self._store.api_keys.get(key_id)
        if key is None:
            raise errors.no_key()
        return key

    def _plan(self, params: dict[str, Any]) -> UsagePlan:
        plan = self._store.usage_plans.get(params["usagePlanId"])
        if plan is None:
            raise errors.no_plan()
        return plan

    def _membership(self, params: dict[str, Any]) -> tuple[str, UsagePlanKey]:
        name = f"{self._plan(params).id}/{params['keyId']}"
        member = self._store.usage_plan_keys.get(name)
        if member is None:
            raise errors.no_key()
        return name, member


def _value(given: str | None) -> str:
    """The given value, or 40 letters and digits, as AWS makes them."""
    if not given:
        return "".join(secrets.choice(_ALPHABET) for _ in range(40))
    if not _MIN_VALUE_CHARS <= len(given) <= _MAX_VALUE_CHARS:
        raise errors.bad_request(
            f"API Key value should be at least {_MIN_VALUE_CHARS} characters"
            if len(given) < _MIN_VALUE_CHARS
            else f"API Key value exceeds maximum size of {_MAX_VALUE_CHARS} characters"
        )
    return given


def _check_lengths(key: ApiKey) -> None:
    if isinstance(key.name, str) and len(key.name) > _MAX_NAME_CHARS:
        raise errors.bad_request(f"Invalid API Key name, can be at most {_MAX_NAME_CHARS} characters.")
    if isinstance(key.description, str) and len(key.description) > _MAX_DESCRIPTION_CHARS:
        raise errors.bad_request("Invalid API Key description specified.")


def _shown(key: ApiKey, include_value: Any) -> dict[str, Any]:
    document = wire(key)
    if not include_value:
        del document["value"]
    return document


def _day(given: str) -> date:
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise errors.bad_request(f"Invalid date format {given}: yyyy-MM-dd is expected") from None


def _daily(plan: UsagePlan, usage: dict[str, int], first: date, last: date) -> list[list[int]]:
    days = []
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        used_until = {name: used for name, used in usage.items() if name <= day.isoformat()}
        left = 0
        if isinstance(plan.quota, Quota):
            left = plan.quota.limit - used_since(used_until, period_start(plan.quota.period, day))
        days.append([usage.get(day.isoformat(), 0), left])
    return days
