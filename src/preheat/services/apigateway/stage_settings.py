"""Patching a stage: its settings for methods, its access log, its canary.

Refusals as recorded in localstack's test_apigateway_common (TestStages) and test_apigateway_canary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from preheat.services.apigateway import errors
from preheat.services.apigateway.models import AccessLogSettings, CanarySettings, MethodSetting, Stage, present
from preheat.services.apigateway.patch import Patch, boolean, integer, number, patch_map, require_replace, text
from preheat.services.apigateway.stages import setting_key
from preheat.services.apigateway.store import ApiState

_PATHS = (
    "/deploymentId, /description, /cacheClusterEnabled, /cacheClusterSize, /clientCertificateId, /accessLogSettings, "
    "/accessLogSettings/destinationArn, /accessLogSettings/format, /{resourcePath}/{httpMethod}/metrics/enabled, "
    "/{resourcePath}/{httpMethod}/logging/dataTrace, /{resourcePath}/{httpMethod}/logging/loglevel, "
    "/{resourcePath}/{httpMethod}/throttling/burstLimit/{resourcePath}/{httpMethod}/throttling/rateLimit"
    "/{resourcePath}/{httpMethod}/caching/ttlInSeconds, /{resourcePath}/{httpMethod}/caching/enabled, "
    "/{resourcePath}/{httpMethod}/caching/dataEncrypted, "
    "/{resourcePath}/{httpMethod}/caching/requireAuthorizationForCacheControl, "
    "/{resourcePath}/{httpMethod}/caching/unauthorizedCacheControlHeaderStrategy, /*/*/metrics/enabled, "
    "/*/*/logging/dataTrace, /*/*/logging/loglevel, /*/*/throttling/burstLimit /*/*/throttling/rateLimit "
    "/*/*/caching/ttlInSeconds, /*/*/caching/enabled, /*/*/caching/dataEncrypted, "
    "/*/*/caching/requireAuthorizationForCacheControl, /*/*/caching/unauthorizedCacheControlHeaderStrategy, "
    "/variables/{variable_name}, /tracingEnabled"
)
"""What AWS lists, its own missing commas included (recorded: error-update-doc-version)."""

_SETTINGS: dict[tuple[str, str], tuple[str, Callable[[str], Any]]] = {
    ("metrics", "enabled"): ("metrics_enabled", boolean),
    ("logging", "dataTrace"): ("data_trace_enabled", boolean),
    ("logging", "loglevel"): ("logging_level", text),
    ("throttling", "burstLimit"): ("throttling_burst_limit", integer),
    ("throttling", "rateLimit"): ("throttling_rate_limit", number),
    ("caching", "enabled"): ("caching_enabled", boolean),
    ("caching", "ttlInSeconds"): ("cache_ttl_in_seconds", integer),
    ("caching", "dataEncrypted"): ("cache_data_encrypted", boolean),
    ("caching", "requireAuthorizationForCacheControl"): ("require_authorization_for_cache_control", boolean),
    ("caching", "unauthorizedCacheControlHeaderStrategy"): ("unauthorized_cache_control_header_strategy", text),
}
_COPIES = {
    "/deploymentId": "/canarySettings/deploymentId",
    "/variables": "/canarySettings/stageVariableOverrides",
}


def patched_stage(state: ApiState, stage: Stage, patch: Patch) -> Stage:
    """Raises BadRequestException in AWS's words; 501 for what needs a part that is not built."""
    replace = msgspec.structs.replace
    if patch.op == "copy":
        return _promoted(stage, patch)
    match patch.parts:
        case ("deploymentId",):
            require_replace(patch)
            return replace(stage, deployment_id=_known(state, patch.value))
        case ("description",):
            return replace(stage, description=UNSET if patch.op == "remove" else patch.value)
        case ("tracingEnabled",):
            require_replace(patch)
            return replace(stage, tracing_enabled=boolean(patch.value))
        case ("cacheClusterEnabled",):
            require_replace(patch)
            return replace(stage, cache_cluster_enabled=boolean(patch.value))
        case ("cacheClusterSize",):
            require_replace(patch)
            return replace(stage, cache_cluster_size=patch.value)
        case ("clientCertificateId",):
            raise errors.not_built("clientCertificateId")
        case ("variables", *_):
            current = stage.variables if isinstance(stage.variables, dict) else {}
            return replace(stage, variables=present(patch_map(current, patch)))
        case ("accessLogSettings", *rest):
            return replace(stage, access_log_settings=_access_log(stage, tuple(rest), patch))
        case ("canarySettings", *rest):
            return replace(stage, canary_settings=_canary(state, stage, tuple(rest), patch))
        case (path, method, kind, member) if (kind, member) in _SETTINGS and patch.op != "remove":
            key = setting_key(path, method)
            return replace(stage, method_settings=_with_setting(stage, key, (kind, member), patch.value))
        case (path, method, *_) if patch.op == "remove":
            key = setting_key(path, method)
            if key not in stage.method_settings:
                raise _nothing_to_remove("/".join(patch.parts))
            return replace(stage, method_settings={k: v for k, v in stage.method_settings.items() if k != key})
        case _:
            raise _bad_path(patch)


def canary_from(given: dict[str, Any]) -> CanarySettings:
    """`given` by the API's member names, `deploymentId` among them."""
    percent = float(given.get("percentTraffic") or 0)
    if not 0 <= percent <= 100:
        raise errors.bad_request("Percent traffic must be between 0.0 and 100.0")  # words unverified
    return CanarySettings(
        deployment_id=given["deploymentId"],
        percent_traffic=percent,
        stage_variable_overrides=present(given.get("stageVariableOverrides")),
        use_stage_cache=given.get("useStageCache") or False,
    )


def _known(state: ApiState, deployment_id: str) -> str:
    if deployment_id not in state.deployments:
        raise errors.bad_request("Deployment id does not exist")
    return deployment_id


def _with_setting(stage: Stage, key: str, path: tuple[str, str], value: str) -> dict[str, MethodSetting]:
    """A method's settings begin as the stage's at that moment, and are its own from then on (recorded)."""
    attribute, convert = _SETTINGS[path]
    before = stage.method_settings.get(key) or stage.method_settings.get("*/*") or MethodSetting()
    return {**stage.method_settings, key: msgspec.structs.replace(before, **{attribute: convert(value)})}


def _canary(state: ApiState, stage: Stage, rest: tuple[str, ...], patch: Patch) -> CanarySettings | UnsetType:
    """Made by the first `replace` of a member; only as a whole it is removed; `add` is not for it (recorded)."""
    if patch.op == "remove":
        if rest:
            raise _nothing_to_remove("/".join(patch.parts))
        return UNSET
    if patch.op == "add":
        raise errors.bad_request(f"Invalid add operation with path: {patch.path}")
    current = stage.canary_settings
    canary = current if isinstance(current, CanarySettings) else CanarySettings(deployment_id=stage.deployment_id)
    match rest:
        case ("deploymentId",):
            return msgspec.structs.replace(canary, deployment_id=_known(state, patch.value))
        case ("percentTraffic",):
            return canary_from({**msgspec.to_builtins(canary), "percentTraffic": number(patch.value)})
        case ("useStageCache",):
            return msgspec.structs.replace(canary, use_stage_cache=boolean(patch.value))
        case ("stageVariableOverrides", name):
            overrides = canary.stage_variable_overrides
            changed = {**(overrides if isinstance(overrides, dict) else {}), name: patch.value}
            return msgspec.structs.replace(canary, stage_variable_overrides=changed)
        case _:
            raise _bad_path(patch)


def _promoted(stage: Stage, patch: Patch) -> Stage:
    """`copy` makes the canary's deployment or variables the stage's own."""
    if _COPIES.get(patch.path) != patch.source:
        raise errors.bad_request(
            f"Invalid copy operation with path: {patch.path} and from {patch.source}. "
            f"Valid copy:path are [{', '.join(_COPIES)}] and valid copy:from are [{', '.join(_COPIES.values())}]"
        )
    canary = stage.canary_settings
    if not isinstance(canary, CanarySettings):
        raise errors.bad_request("Promotion not available. Canary does not exist.")
    if patch.path == "/deploymentId":
        return msgspec.structs.replace(stage, deployment_id=canary.deployment_id)
    return msgspec.structs.replace(stage, variables=present(stage.canary_variables()))


def _access_log(stage: Stage, rest: tuple[str, ...], patch: Patch) -> AccessLogSettings | UnsetType:
    current = stage.access_log_settings
    settings = current if isinstance(current, AccessLogSettings) else AccessLogSettings()
    if patch.op == "remove" and not rest:
        return UNSET
    if rest == ("destinationArn",):
        arn = patch.value.removesuffix(":*")
        if ":logs:" not in arn or ":log-group:" not in arn:
            raise errors.bad_request("Invalid ARN specified in the request. ARN should be of a CloudWatch Logs group")
        return msgspec.structs.replace(settings, destination_arn=arn)
    if rest == ("format",):
        if "$context.requestId" not in patch.value and "$context.extendedRequestId" not in patch.value:
            raise errors.bad_request("Access log format must contain $context.requestId or $context.extendedRequestId")
        return msgspec.structs.replace(settings, format=patch.value)
    raise errors.bad_request(f"Invalid patch path {patch.path}")


def _nothing_to_remove(what: str) -> Exception:
    """AWS's words, the blank at the end included (recorded: test_update_stage_remove_wildcard)."""
    return errors.bad_request(
        f"Cannot remove method setting {what} because there is no method setting for this method "
    )


def _bad_path(patch: Patch) -> Exception:
    return errors.bad_request(f"Invalid method setting path: {patch.path}. Must be one of: [{_PATHS}]")
