"""Operations on REST APIs themselves and on tags."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.models import Model, Resource, RestApi, Stage, present, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import Patch, boolean, patch_list, patches, require_replace
from preheat.services.apigateway.store import ApiState, Store, new_id

_TAGGABLE = re.compile(r"arn:aws[\w-]*:apigateway:[\w-]*::/restapis/(?P<api>\w+)(?:/stages/(?P<stage>[\w-]+))?")
_EMPTY_SCHEMA = (
    '{\n  "$schema": "http://json-schema.org/draft-04/schema#",\n  "title" : "Empty Schema",\n  "type" : "object"\n}'
)
_ERROR_SCHEMA = (
    '{\n  "$schema" : "http://json-schema.org/draft-04/schema#",\n  "title" : "Error Schema",\n  "type" : "object",\n'
    '  "properties" : {\n    "message" : { "type" : "string" }\n  }\n}'
)
_ENDPOINT_TYPES = ("REGIONAL", "EDGE", "PRIVATE")
_MAX_COMPRESSION_BYTES = 10_485_760
_BAD_COMPRESSION = f"Invalid minimum compression size, must be between 0 and {_MAX_COMPRESSION_BYTES}"


class ApiOperations:
    """CreateRestApi ... DeleteRestApi, TagResource, UntagResource, GetTags."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._create(params, default_models()))

    def _create(self, params: dict[str, Any], models: list[Model]) -> RestApi:
        _check_new(params)
        root = Resource(id=new_id(10), path="/")
        rest_api = RestApi(
            id=new_id(10),
            name=params["name"],
            created_date=datetime.now(UTC).replace(microsecond=0),
            root_resource_id=root.id,
            description=present(params.get("description")),
            version=present(params.get("version")),
            binary_media_types=present(params.get("binaryMediaTypes")),
            api_key_source=params.get("apiKeySource", "HEADER"),
            endpoint_configuration=_endpoint(params.get("endpointConfiguration") or {}),
            policy=present(params.get("policy")),
            tags=present(params.get("tags")),
            disable_execute_api_endpoint=params.get("disableExecuteApiEndpoint", False),
            minimum_compression_size=_compression_size(params.get("minimumCompressionSize")),
        )
        self._store.create_api(rest_api, root, models)
        return rest_api

    def get_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return shown_api(self._api(context, params).rest_api)

    def get_rest_apis(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return page([wire(state.rest_api) for state in self._store.apis.values()], params)

    def update_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        rest_api = self._api(context, params).rest_api
        for patch in patches(params):
            rest_api = _patched(rest_api, patch)
        self._store.put_api(rest_api)
        return shown_api(rest_api)

    def delete_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Usage plans lose the API's stages: one that has some cannot be deleted (localstack's fixtures, on AWS)."""
        api_id = self._api(context, params).rest_api.id
        self._store.delete_api(api_id)
        for plan in list(self._store.usage_plans.values()):
            kept = [stage for stage in plan.api_stages if stage.api_id != api_id]
            if len(kept) < len(plan.api_stages):
                changed = msgspec.structs.replace(plan, api_stages=kept)
                self._store.put_account_part("usage_plans", plan.id, changed)
        return {}

    def tag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, stage = self._tagged(context, params)
        self._put_tags(state, stage, {**_tags(state, stage), **(params.get("tags") or {})})
        return {}

    def untag_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, stage = self._tagged(context, params)
        kept = {key: value for key, value in _tags(state, stage).items() if key not in (params.get("tagKeys") or ())}
        self._put_tags(state, stage, kept)
        return {}

    def get_tags(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return {"tags": _tags(*self._tagged(context, params))}

    def _api(self, context: OperationContext, params: dict[str, Any]) -> ApiState:
        """The API that `restApiId` names; identifiers are case-sensitive in the control plane (recorded)."""
        state = self._store.apis.get(params["restApiId"])
        if state is None:
            raise errors.no_api(context.account_id, params["restApiId"])
        return state

    def _tagged(self, context: OperationContext, params: dict[str, Any]) -> tuple[ApiState, Stage | None]:
        match = _TAGGABLE.fullmatch(params["resourceArn"])
        if match is None:
            raise errors.bad_request("Invalid ARN specified in the request")
        state = self._api(context, {"restApiId": match["api"]})
        if match["stage"] is None:
            return state, None
        stage = state.stages.get(match["stage"])
        if stage is None:
            raise errors.no_stage()
        return state, stage

    def _put_tags(self, state: ApiState, stage: Stage | None, tags: dict[str, str]) -> None:
        if stage is None:
            self._store.put_api(msgspec.structs.replace(state.rest_api, tags=present(tags)))
        else:
            self._store.put_stage(state.rest_api.id, msgspec.structs.replace(stage, tags=present(tags)))


def shown_api(rest_api: RestApi) -> dict[str, Any]:
    """With its tags, empty or not: neither creation nor the list of APIs shows empty ones (recorded)."""
    return {"tags": {}, **wire(rest_api)}


def default_models() -> list[Model]:
    """The two that every API is born with, but for imported ones (recorded: test_import_swagger_api)."""
    return [
        Model(
            id=new_id(6),
            name="Empty",
            description="This is a default empty schema model",
            schema=_EMPTY_SCHEMA,
            content_type="application/json",
        ),
        Model(
            id=new_id(6),
            name="Error",
            description="This is a default error schema model",
            schema=_ERROR_SCHEMA,
            content_type="application/json",
        ),
    ]


def _tags(state: ApiState, stage: Stage | None) -> dict[str, str]:
    tags = (stage or state.rest_api).tags
    return dict(tags) if isinstance(tags, dict) else {}


def _check_new(params: dict[str, Any]) -> None:
    if not params.get("name"):
        raise errors.bad_request("Invalid request input")
    if params.get("description") == "":
        raise errors.bad_request("Description cannot be an empty string")
    if params.get("cloneFrom"):
        raise errors.not_built("cloneFrom")
    if params.get("policy"):
        raise errors.not_built("policy (resource policies)")


def _compression_size(given: int | None) -> int | UnsetType:
    if given is None:
        return UNSET
    if not 0 <= given <= _MAX_COMPRESSION_BYTES:
        raise errors.bad_request(_BAD_COMPRESSION)
    return given


def _endpoint(given: dict[str, Any]) -> dict[str, Any]:
    """Edge-optimised over IPv4 unless told otherwise; a private API is always dual-stack (recorded:
    test_create_rest_api_with_endpoint_configuration, ..._private_type)."""
    types = given.get("types")
    if types == []:
        raise errors.bad_request("REGIONAL Configuration and EDGE Configuration cannot be both DISABLED.")
    if len(types or ()) > 1:
        raise errors.bad_request("Cannot create an api with multiple Endpoint Types.")
    private = types == ["PRIVATE"]
    ip = given.get("ipAddressType") or ("dualstack" if private else "ipv4")
    if private and ip != "dualstack":
        raise errors.bad_request("Only dualstack ipAddressType is supported for Private APIs.")
    return {**given, "types": types or ["EDGE"], "ipAddressType": ip}


def _patched_endpoint(current: dict[str, Any], patch: Patch) -> dict[str, Any]:
    """Recorded: test_update_rest_api_ip_address_type."""
    require_replace(patch)
    if patch.parts[1] == "ipAddressType":
        if patch.value not in ("ipv4", "dualstack"):
            raise errors.bad_request("ipAddressType must be either ipv4 or dualstack.")
        return _endpoint({**current, "ipAddressType": patch.value})
    if patch.value not in _ENDPOINT_TYPES:
        raise errors.bad_request(f"Invalid EndpointTypes specified. Valid options are {','.join(_ENDPOINT_TYPES)}")
    ip = "dualstack" if patch.value == "PRIVATE" else current["ipAddressType"]
    return _endpoint({**current, "types": [patch.value], "ipAddressType": ip})


def _patched(rest_api: RestApi, patch: Patch) -> RestApi:
    replace = msgspec.structs.replace
    match patch.parts:
        case ("binaryMediaTypes", *_):
            current = rest_api.binary_media_types
            changed = patch_list(current if isinstance(current, list) else [], patch)
            return replace(rest_api, binary_media_types=changed or UNSET)
        case ("description",):
            return replace(rest_api, description=UNSET if patch.op == "remove" else patch.value)
        case ("name" | "version" | "apiKeySource" as member,):
            require_replace(patch)
            return replace(rest_api, **{"api_key_source" if member == "apiKeySource" else member: patch.value})
        case ("disableExecuteApiEndpoint",):
            require_replace(patch)
            return replace(rest_api, disable_execute_api_endpoint=boolean(patch.value))
        case ("endpointConfiguration", "types" | "ipAddressType", *_):
            changed_endpoint = _patched_endpoint(rest_api.endpoint_configuration, patch)
            return replace(rest_api, endpoint_configuration=changed_endpoint)
        case ("minimumCompressionSize",):
            require_replace(patch)
            if patch.value and not patch.value.isdecimal():
                raise errors.bad_request(_BAD_COMPRESSION)
            size = _compression_size(int(patch.value) if patch.value else None)
            return replace(rest_api, minimum_compression_size=size)
        case ("policy" | "endpointConfiguration" as member, *_):
            raise errors.not_built(member)
        case _:
            raise errors.bad_request(f"Invalid patch path {patch.path}")
