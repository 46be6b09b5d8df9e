"""Operations on resources: the tree of paths."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from preheat.aws.context import OperationContext
from preheat.services.apigateway import errors
from preheat.services.apigateway.apis import ApiOperations
from preheat.services.apigateway.models import Resource, wire
from preheat.services.apigateway.paging import page
from preheat.services.apigateway.patch import Patch, patches
from preheat.services.apigateway.store import ApiState, new_id

_PATH_PART = re.compile(r"[a-zA-Z0-9._:-]+|\{[a-zA-Z0-9._:-]+\+?\}")
_PATH_PART_REFUSED = (
    "Resource's path part only allow a-zA-Z0-9._-: and curly braces at the beginning and the end "
    "and an optional plus sign before the closing brace."
)


class ResourceOperations(ApiOperations):
    """CreateResource, GetResource(s), UpdateResource, DeleteResource."""

    def create_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, parent = self._resource(params, "parentId")
        part = params.get("pathPart") or ""
        _check_place(state, parent, part)
        resource = Resource(id=new_id(6), parent_id=parent.id, path_part=part, path=_join(parent.path, part))
        self._store.put_resources(state.rest_api.id, [resource])
        return _shown(resource, embed=())

    def get_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        _, resource = self._resource(params)
        return _shown(resource, params.get("embed") or ())

    def get_resources(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Sorted by path, as AWS lists them (recorded)."""
        resources = sorted(self._api(context, params).resources.values(), key=lambda resource: resource.path)
        return page([_shown(resource, params.get("embed") or ()) for resource in resources], params)

    def update_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        state, resource = self._resource(params)
        for patch in patches(params):
            self._move(state, state.resources[resource.id], patch)
        return _shown(state.resources[resource.id], embed=())

    def delete_resource(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        """Deletes what is below it, too (recorded)."""
        state, resource = self._resource(params)
        if resource.id == state.rest_api.root_resource_id:
            raise errors.bad_request("Root resource cannot be deleted")  # words unverified
        gone = [resource.id, *(below.id for below in state.descendants(resource.id))]
        self._store.delete_resources(state.rest_api.id, gone)
        return {}

    def _resource(self, params: dict[str, Any], key: str = "resourceId") -> tuple[ApiState, Resource]:
        """An unknown API is reported as an unknown resource wherever both are named (recorded for PutMethod)."""
        state = self._store.apis.get(params["restApiId"])
        resource = state.resources.get(params[key]) if state else None
        if state is None or resource is None:
            raise errors.no_resource()
        return state, resource

    def _move(self, state: ApiState, resource: Resource, patch: Patch) -> None:
        if patch.op != "replace":
            raise errors.bad_request(
                f"Invalid patch path  '{patch.path}' specified for op '{patch.op}'. Please choose supported operations"
            )
        if patch.parts not in (("parentId",), ("pathPart",)):
            raise errors.bad_request(
                f"Invalid patch path  '{patch.path}' specified for op 'replace'. Must be one of: [/parentId, /pathPart]"
            )
        if not isinstance(resource.parent_id, str):
            raise errors.bad_request(f"Root resource cannot update its {patch.parts[0]}.")
        parent_id, part = resource.parent_id, str(resource.path_part)
        if patch.parts == ("parentId",):
            parent_id = patch.value
        else:
            part = patch.value
        parent = state.resources.get(parent_id)
        if parent is None:
            raise errors.no_resource()
        if parent_id == resource.id or any(below.id == parent_id for below in state.descendants(resource.id)):
            raise errors.bad_request("Resources cannot be cyclical.")
        _check_place(state, parent, part, moving=resource.id)
        moved = msgspec.structs.replace(resource, parent_id=parent_id, path_part=part, path=_join(parent.path, part))
        self._store.put_resources(state.rest_api.id, [moved, *_repathed(state, moved)])


def _repathed(state: ApiState, moved: Resource) -> Iterable[Resource]:
    """What is below a moved resource, with its new path."""
    paths = {moved.id: moved.path}
    changed = []
    for below in state.descendants(moved.id):
        paths[below.id] = _join(paths[str(below.parent_id)], str(below.path_part))
        changed.append(msgspec.structs.replace(below, path=paths[below.id]))
    return changed


def _check_place(state: ApiState, parent: Resource, part: str, moving: str | None = None) -> None:
    """May `part` stand below `parent`? Raises AWS's refusals (recorded, but for the first one's: moto's)."""
    if not _PATH_PART.fullmatch(part):
        raise errors.bad_request(_PATH_PART_REFUSED)
    if isinstance(parent.path_part, str) and parent.path_part.endswith("+}"):
        raise errors.bad_request(f"Cannot create a child of a resource with a greedy path variable: {parent.path_part}")
    siblings = state.children.get(parent.id, {})
    if siblings.get(part, moving) != moving:
        raise errors.name_taken(part)
    if part.startswith("{"):
        for sibling, sibling_id in siblings.items():
            if sibling.startswith("{") and sibling_id != moving:
                raise errors.bad_request(
                    f"A sibling ({sibling}) of this resource already has a variable path part -- only one is allowed"
                )


def _join(parent_path: str, part: str) -> str:
    return f"{parent_path.rstrip('/')}/{part}"


def _shown(resource: Resource, embed: Iterable[str]) -> dict[str, Any]:
    """Without `embed=methods` each method is an empty object; a resource without methods has no member for them."""
    document = wire(resource)
    methods = document.pop("resourceMethods")
    if methods:
        document["resourceMethods"] = methods if "methods" in embed else {name: {} for name in methods}
    return document
