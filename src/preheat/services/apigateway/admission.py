"""Who may pass: API keys, usage plans with their quotas, and the throttling of stages, methods and plans.

Source: developer guide, "Usage plans and API keys" and "Throttle requests to your REST APIs" (the order in which
limits apply: per key and method, per key, per method of the stage). Keys and plans are live at once; they are the
account's, not a deployment's.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from msgspec import UNSET

from preheat.services.apigateway import refusals
from preheat.services.apigateway.buckets import Buckets, period_start, used_since
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.models import ApiKey, PlanStage, Quota, Throttle, UsagePlan
from preheat.services.apigateway.refusals import Refused
from preheat.services.apigateway.store import Store


class Admission:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._buckets = Buckets()
        self._by_value: dict[str, ApiKey] = {}
        self._indexed = -1

    def check(self, call: Call) -> None:
        """Raise Refused: 403 without a good key where one is required, 429 over a limit. Counts the request."""
        key = self._key(call)
        plan = self._plan(call, key) if key is not None else None
        if call.route.method.api_key_required:
            if key is None or plan is None or not key.enabled:
                raise Refused(refusals.INVALID_API_KEY)
            call.identified(key)
            self._use(call, key, *plan)
        self._throttle_method(call)

    def _key(self, call: Call) -> ApiKey | None:
        if call.stage.deployment.api_key_source == "AUTHORIZER":
            value = call.usage_identifier
        else:
            value = call.request.header("x-api-key")
        if self._indexed != self._store.keys_changed:
            self._by_value = {key.value: key for key in self._store.api_keys.values()}
            self._indexed = self._store.keys_changed
        return self._by_value.get(value) if value else None

    def _plan(self, call: Call, key: ApiKey) -> tuple[UsagePlan, PlanStage] | None:
        """The plan that opens this stage to the key."""
        for plan in self._store.usage_plans.values():
            if f"{plan.id}/{key.id}" in self._store.usage_plan_keys:
                for stage in plan.api_stages:
                    if (stage.api_id, stage.stage) == (call.stage.api_id, call.stage.name):
                        return plan, stage
        return None

    def _use(self, call: Call, key: ApiKey, plan: UsagePlan, stage: PlanStage) -> None:
        now_s = time.monotonic()
        method = f"{call.route.resource_path}/{call.route.method.http_method}"
        throttles = stage.throttle if isinstance(stage.throttle, dict) else {}
        own = throttles.get(method)
        if own is not None:
            self._take(("plan", plan.id, key.id, call.stage.api_id, call.stage.name, method), own, now_s)
        elif isinstance(plan.throttle, Throttle):
            self._take(("plan", plan.id, key.id), plan.throttle, now_s)
        today = datetime.now(UTC).date()
        usage = self._store.usage.get((plan.id, key.id), {})
        if isinstance(plan.quota, Quota) and used_since(usage, period_start(plan.quota.period, today)) >= (
            plan.quota.limit
        ):
            raise Refused(refusals.QUOTA_EXCEEDED)
        if plan.quota is not UNSET:
            day = today.isoformat()
            self._store.put_usage(plan.id, key.id, day, usage.get(day, 0) + 1)

    def _throttle_method(self, call: Call) -> None:
        setting = call.route.setting
        if setting is not None:
            name = (call.stage.api_id, call.stage.name, call.route.resource_id, call.route.method.http_method)
            limits = Throttle(burst_limit=setting.throttling_burst_limit, rate_limit=setting.throttling_rate_limit)
            self._take(name, limits, time.monotonic())

    def _take(self, key: tuple[str, ...], throttle: Throttle, now_s: float) -> None:
        if not self._buckets.take(key, throttle.rate_limit, throttle.burst_limit, now_s):
            raise Refused(refusals.THROTTLED)
