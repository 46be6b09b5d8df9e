"""Usage plans from an operation's parameters and from patches."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from preheat.kernel.errors import AwsError
from preheat.services.apigateway import errors
from preheat.services.apigateway.models import PlanStage, Quota, Throttle, UsagePlan, present
from preheat.services.apigateway.patch import Patch, integer, number
from preheat.services.apigateway.store import Store

_PERIODS = ("DAY", "WEEK", "MONTH")


def plan_from(plan_id: str, params: dict[str, Any]) -> UsagePlan:
    """The plan that CreateUsagePlan describes."""
    return UsagePlan(
        id=plan_id,
        name=params["name"],
        description=present(params.get("description")),
        api_stages=[_plan_stage(stage) for stage in params.get("apiStages") or ()],
        throttle=_throttle(params["throttle"]) if params.get("throttle") else UNSET,
        quota=_quota(params["quota"]) if params.get("quota") else UNSET,
        tags=present(params.get("tags")),
    )


def checked(plan: UsagePlan, store: Store, *, is_new: bool = False) -> UsagePlan:
    """Raise AWS's refusals of stages that do not exist (test_usage_plan_crud), and of a period that is none."""
    for stage in plan.api_stages:
        api = store.apis.get(stage.api_id)
        if api is None or stage.stage not in api.stages:
            if is_new:
                raise errors.not_found(f"API Stage not found: {stage.api_id}:{stage.stage}")
            raise _no_stage(plan, stage.api_id, stage.stage)
    if isinstance(plan.quota, Quota) and plan.quota.period not in _PERIODS:
        raise errors.bad_request(f"Quota period must be one of: [{', '.join(_PERIODS)}]")
    return plan


def patched_plan(plan: UsagePlan, patch: Patch) -> UsagePlan:
    """Paths: /name, /description, /productCode, /throttle…, /quota…, /apiStages (value or path `<api>:<stage>`)."""
    replace = msgspec.structs.replace
    match patch.parts:
        case ("name" | "description" | "productCode" as member,):
            attribute = "product_code" if member == "productCode" else member
            return replace(plan, **{attribute: UNSET if patch.op == "remove" else patch.value})
        case ("throttle" | "quota" as member,) if patch.op == "remove":
            return replace(plan, **{member: UNSET})
        case ("throttle", member):
            return replace(plan, throttle=_limit(plan.throttle, member, patch))
        case ("quota", member):
            quota = plan.quota if isinstance(plan.quota, Quota) else Quota()
            value = patch.value if member == "period" else integer(patch.value)
            return replace(plan, quota=_set(quota, member, value, patch))
        case ("apiStages",):
            return replace(plan, api_stages=_stages(plan, patch))
        case ("apiStages", name, "throttle", method, member):
            return replace(
                plan, api_stages=[_throttled(stage, name, method, member, patch) for stage in plan.api_stages]
            )
        case ("apiStages", name) if patch.op == "remove":
            return replace(plan, api_stages=[stage for stage in plan.api_stages if _name(stage) != name])
        case _:
            raise errors.bad_request(f"Invalid patch path {patch.path}")


def _plan_stage(given: dict[str, Any]) -> PlanStage:
    throttle = {method: _throttle(limits) for method, limits in (given.get("throttle") or {}).items()}
    return PlanStage(api_id=given.get("apiId", ""), stage=given.get("stage", ""), throttle=present(throttle))


def _throttle(given: dict[str, Any]) -> Throttle:
    return Throttle(burst_limit=given.get("burstLimit", 0), rate_limit=float(given.get("rateLimit", 0)))


def _quota(given: dict[str, Any]) -> Quota:
    return Quota(limit=given.get("limit", 0), offset=given.get("offset", 0), period=given.get("period", ""))


def _stages(plan: UsagePlan, patch: Patch) -> list[PlanStage]:
    """Refusals as recorded (test_usage_plan_crud)."""
    api_id, separator, stage = patch.value.partition(":")
    if not separator:
        raise errors.bad_request("Invalid API Stage specified")
    kept = [known for known in plan.api_stages if _name(known) != patch.value]
    if patch.op == "remove" and len(kept) == len(plan.api_stages):
        raise _no_stage(plan, api_id, stage)
    return kept if patch.op == "remove" else [*kept, PlanStage(api_id=api_id, stage=stage)]


def _no_stage(plan: UsagePlan, api_id: str, stage: str) -> AwsError:
    return errors.not_found(f"Invalid API Stage {{api: {api_id}, stage: {stage}}} specified for usageplan {plan.id}")


def _throttled(stage: PlanStage, name: str, method: str, member: str, patch: Patch) -> PlanStage:
    if _name(stage) != name:
        return stage
    throttles = dict(stage.throttle) if isinstance(stage.throttle, dict) else {}
    throttles[method] = _limit(throttles.get(method, UNSET), member, patch)
    return msgspec.structs.replace(stage, throttle=throttles)


def _limit(throttle: Any, member: str, patch: Patch) -> Throttle:
    current = throttle if isinstance(throttle, Throttle) else Throttle()
    value = integer(patch.value) if member == "burstLimit" else number(patch.value)
    changed: Throttle = _set(current, member, value, patch)
    return changed


def _set(value: Any, member: str, new: Any, patch: Patch) -> Any:
    attribute = {"burstLimit": "burst_limit", "rateLimit": "rate_limit"}.get(member, member)
    if attribute not in value.__struct_fields__:
        raise errors.bad_request(f"Invalid patch path {patch.path}")
    return msgspec.structs.replace(value, **{attribute: new})


def _name(stage: PlanStage) -> str:
    return f"{stage.api_id}:{stage.stage}"
