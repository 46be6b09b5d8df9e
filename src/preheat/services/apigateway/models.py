"""REST APIs as immutable values.

Field names are botocore's member names in snake case (`rename="camel"` restores them), so a value is at
once the wire's dict (`wire`) and the row in the database (`encode`). UNSET members are left out of both.
Because nothing here changes in place, a deployment's snapshot is simply the resources of that moment.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

Text = str | UnsetType


class RestApi(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An API's own members; resources, deployments and stages are values of their own."""

    id: str
    name: str
    created_date: datetime
    root_resource_id: str
    description: Text = UNSET
    version: Text = UNSET
    binary_media_types: list[str] | UnsetType = UNSET
    api_key_source: str = "HEADER"
    endpoint_configuration: dict[str, Any]
    policy: Text = UNSET
    tags: dict[str, str] | UnsetType = UNSET
    disable_execute_api_endpoint: bool = False
    minimum_compression_size: int | UnsetType = UNSET
    """Bytes from which on answers are compressed; UNSET: none is."""


class IntegrationResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    status_code: str
    selection_pattern: Text = UNSET
    response_parameters: dict[str, str] | UnsetType = UNSET
    response_templates: dict[str, str | None] | UnsetType = UNSET
    """None, which is what AWS makes of "": the body passes as it is."""
    content_handling: Text = UNSET


class Integration(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`http_method` is the integration's own (POST for Lambda); `timeout_in_millis` defaults to AWS's 29 s."""

    type: str
    http_method: Text = UNSET
    uri: Text = UNSET
    connection_type: Text = UNSET
    credentials: Text = UNSET
    request_parameters: dict[str, str] | UnsetType = UNSET
    request_templates: dict[str, str | None] | UnsetType = UNSET
    passthrough_behavior: str = "WHEN_NO_MATCH"
    content_handling: Text = UNSET
    timeout_in_millis: int = 29_000
    cache_namespace: str
    cache_key_parameters: list[str] = []
    integration_responses: dict[str, IntegrationResponse] | UnsetType = UNSET


class MethodResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    status_code: str
    response_parameters: dict[str, bool] | UnsetType = UNSET
    response_models: dict[str, str] | UnsetType = UNSET


class Method(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    http_method: str
    authorization_type: str
    authorizer_id: Text = UNSET
    authorization_scopes: list[str] | UnsetType = UNSET
    api_key_required: bool = False
    request_validator_id: Text = UNSET
    operation_name: Text = UNSET
    request_parameters: dict[str, bool] | UnsetType = UNSET
    request_models: dict[str, str] | UnsetType = UNSET
    method_responses: dict[str, MethodResponse] | UnsetType = UNSET
    method_integration: Integration | UnsetType = UNSET


class Resource(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`path` is the whole path from the root; the root itself has no parent and no part."""

    id: str
    parent_id: Text = UNSET
    path_part: Text = UNSET
    path: str
    resource_methods: dict[str, Method] = {}


class Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A JSON schema (draft 4) that bodies may be validated against; `name` is its key within the API."""

    id: str
    name: str
    description: Text = UNSET
    schema: str
    content_type: str


class RequestValidator(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: Text = UNSET
    validate_request_body: bool = False
    validate_request_parameters: bool = False


class Authorizer(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A Lambda authorizer: `type` TOKEN or REQUEST."""

    id: str
    name: str
    type: str
    auth_type: str = "custom"
    authorizer_uri: str
    authorizer_credentials: Text = UNSET
    identity_source: Text = UNSET
    identity_validation_expression: Text = UNSET
    authorizer_result_ttl_in_seconds: int | UnsetType = UNSET
    """Shown only where it was given (recorded); without it AWS's default holds, `ttl_s`."""

    @property
    def ttl_s(self) -> int:
        """How long answers are kept; 300 s unless told otherwise (API reference, CreateAuthorizer)."""
        given = self.authorizer_result_ttl_in_seconds
        return given if isinstance(given, int) else 300


class CustomResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the gateway itself answers in one kind of failure (`response_type`, botocore's GatewayResponseType)."""

    response_type: str
    status_code: Text = UNSET
    response_parameters: dict[str, str] = {}
    response_templates: dict[str, str] = {}
    default_response: bool = False


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    value: str
    name: Text = UNSET
    customer_id: Text = UNSET
    description: Text = UNSET
    enabled: bool = False
    created_date: datetime
    last_updated_date: datetime
    stage_keys: list[str] = []
    tags: dict[str, str] | UnsetType = UNSET


class Throttle(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A token bucket: `rate_limit` requests a second, `burst_limit` at once."""

    burst_limit: int = 0
    rate_limit: float = 0.0


class Quota(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`period` is DAY, WEEK or MONTH; `offset` is subtracted from the first period's limit."""

    limit: int = 0
    offset: int = 0
    period: str = "DAY"


class PlanStage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A stage that a usage plan opens; `throttle` by "/resource/METHOD"."""

    api_id: str
    stage: str
    throttle: dict[str, Throttle] | UnsetType = UNSET


class UsagePlan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    name: str
    description: Text = UNSET
    api_stages: list[PlanStage] = []
    throttle: Throttle | UnsetType = UNSET
    quota: Quota | UnsetType = UNSET
    product_code: Text = UNSET
    tags: dict[str, str] | UnsetType = UNSET


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    cloudwatch_role_arn: Text = UNSET


class UsagePlanKey(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key in a plan. `id` is the API key's; `type` is always API_KEY."""

    id: str
    type: str = "API_KEY"
    value: Text = UNSET
    name: Text = UNSET


class Deployment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A snapshot of everything a request to the API depends on, never changed afterwards."""

    id: str
    created_date: datetime
    description: Text = UNSET
    resources: tuple[Resource, ...]
    binary_media_types: list[str] = []
    api_key_source: str = "HEADER"
    models: dict[str, str] = {}
    """Schemas by the models' names."""
    validators: dict[str, RequestValidator] = {}
    authorizers: dict[str, Authorizer] = {}
    gateway_responses: dict[str, CustomResponse] = {}
    minimum_compression_size: int | None = None


class AccessLogSettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`destination_arn` names a log group; `format` is text with `$context` variables in it."""

    format: Text = UNSET
    destination_arn: Text = UNSET


class MethodSetting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A stage's settings for one method; the defaults are what AWS shows."""

    metrics_enabled: bool = False
    logging_level: Text = UNSET
    data_trace_enabled: bool = False
    throttling_burst_limit: int = 5000
    throttling_rate_limit: float = 10000.0
    caching_enabled: bool = False
    cache_ttl_in_seconds: int = 300
    cache_data_encrypted: bool = False
    require_authorization_for_cache_control: bool = True
    unauthorized_cache_control_header_strategy: str = "SUCCEED_WITH_RESPONSE_HEADER"


class CanarySettings(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A second deployment of a stage, which gets `percent_traffic` of its requests."""

    deployment_id: str
    percent_traffic: float = 0.0
    stage_variable_overrides: dict[str, str] | UnsetType = UNSET
    use_stage_cache: bool = False


class Stage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    stage_name: str
    deployment_id: str
    created_date: datetime
    last_updated_date: datetime
    description: Text = UNSET
    cache_cluster_enabled: bool = False
    cache_cluster_size: Text = UNSET
    cache_cluster_status: str = "NOT_AVAILABLE"
    """Whatever is asked for: answers are not cached here."""
    canary_settings: CanarySettings | UnsetType = UNSET
    method_settings: dict[str, MethodSetting] = {}
    access_log_settings: AccessLogSettings | UnsetType = UNSET
    variables: dict[str, str] | UnsetType = UNSET
    tracing_enabled: bool = False
    tags: dict[str, str] | UnsetType = UNSET

    def deployment_ids(self) -> tuple[str, ...]:
        """The deployments that requests may meet: the stage's own and its canary's."""
        canary = self.canary_settings
        return (self.deployment_id, *((canary.deployment_id,) if isinstance(canary, CanarySettings) else ()))

    def canary_variables(self) -> dict[str, str]:
        """Stage variables as a canary's requests see them."""
        own = self.variables if isinstance(self.variables, dict) else {}
        overrides = getattr(self.canary_settings, "stage_variable_overrides", UNSET)
        return {**own, **(overrides if isinstance(overrides, dict) else {})}


def wire(value: msgspec.Struct) -> dict[str, Any]:
    """The value as an operation's result: botocore's member names, timestamps as datetime."""
    document: dict[str, Any] = msgspec.to_builtins(value, builtin_types=(datetime,))
    return document


def present(value: Any) -> Any:
    """UNSET for an absent or empty member, which AWS leaves out of its answers; else the value."""
    return UNSET if value is None or value == {} or value == [] or value == "" else value
