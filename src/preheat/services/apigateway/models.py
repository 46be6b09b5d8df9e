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


class IntegrationResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    status_code: str
    selection_pattern: Text = UNSET
    response_parameters: dict[str, str] | UnsetType = UNSET
    response_templates: dict[str, str] | UnsetType = UNSET
    content_handling: Text = UNSET


class Integration(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`http_method` is the integration's own (POST for Lambda); `timeout_in_millis` defaults to AWS's 29 s."""

    type: str
    http_method: Text = UNSET
    uri: Text = UNSET
    credentials: Text = UNSET
    request_parameters: dict[str, str] | UnsetType = UNSET
    request_templates: dict[str, str] | UnsetType = UNSET
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
    api_key_required: bool = False
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


class Deployment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A snapshot: `resources` and `binary_media_types` as they were, never changed afterwards."""

    id: str
    created_date: datetime
    description: Text = UNSET
    resources: tuple[Resource, ...]
    binary_media_types: list[str] = []


class Stage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    stage_name: str
    deployment_id: str
    created_date: datetime
    last_updated_date: datetime
    description: Text = UNSET
    cache_cluster_enabled: bool = False
    cache_cluster_status: str = "NOT_AVAILABLE"
    method_settings: dict[str, Any] = {}
    variables: dict[str, str] | UnsetType = UNSET
    tracing_enabled: bool = False
    tags: dict[str, str] | UnsetType = UNSET


def wire(value: msgspec.Struct) -> dict[str, Any]:
    """The value as an operation's result: botocore's member names, timestamps as datetime."""
    document: dict[str, Any] = msgspec.to_builtins(value, builtin_types=(datetime,))
    return document


def present(value: Any) -> Any:
    """UNSET for an absent or empty member, which AWS leaves out of its answers; else the value."""
    return UNSET if value is None or value == {} or value == [] or value == "" else value
