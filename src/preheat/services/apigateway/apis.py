"""Operations on REST APIs themselves and on tags."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET

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
_ENDPOINT_TYPES = ("EDGE", "REGIONAL", "PRIVATE")


class ApiOperations:
    """CreateRestApi ... DeleteRestApi, TagResource, UntagResource, GetTags."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def create_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
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
        )
        self._store.create_api(rest_api, root, default_models())
        return wire(rest_api)

    def get_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return wire(self._api(context, params).rest_api)

    def get_rest_apis(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        return page([wire(state.rest_api) for state in self._store.apis.values()], params)

    def update_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        rest_api = self._api(context, params).rest_api
        for patch in patches(params):
            rest_api = _patched(rest_api, patch)
        self._store.put_api(rest_api)
        # UpdateRestApi shows empty tags where the other operations leave them out (recorded).
        return {"tags": {}, **wire(rest_api)}

    def delete_rest_api(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        self._store.delete_api(self._api(context, params).rest_api.id)
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


def default_models() -> list[Model]:
    """The two that every API is born with (recorded)."""
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
    if params.get("minimumCompressionSize") is not None:
        raise errors.not_built("minimumCompressionSize (payload compression)")
    if params.get("policy"):
        raise errors.not_built("policy (resource policies)")


def _endpoint(given: dict[str, Any]) -> dict[str, Any]:
    """Edge-optimised over IPv4 unless told otherwise; a private API is always dual-stack (botocore's model)."""
    types = given.get("types") or ["EDGE"]
    if any(kind not in _ENDPOINT_TYPES for kind in types):
        raise errors.bad_request(f"Invalid endpoint type specified. Must be one of: [{', '.join(_ENDPOINT_TYPES)}]")
    default_ip = "dualstack" if types == ["PRIVATE"] else "ipv4"
    return {**given, "types": types, "ipAddressType": given.get("ipAddressType", default_ip)}


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
        case ("endpointConfiguration", "types", *_):
            require_replace(patch)
            return replace(rest_api, endpoint_configuration=_endpoint({"types": [patch.value]}))
        case ("minimumCompressionSize" | "policy" | "endpointConfiguration" as member, *_):
            raise errors.not_built(member)
        case _:
            raise errors.bad_request(f"Invalid patch path {patch.path}")
