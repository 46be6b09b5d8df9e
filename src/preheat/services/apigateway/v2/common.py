"""What the operations of HTTP APIs share."""

from __future__ import annotations

from typing import Any

from preheat.services.apigateway import errors
from preheat.services.apigateway.v2.store import Document, HttpApi, HttpApiStore

_MAX_RESULTS = 100


class Operations:
    """Operations on one store. `_found` and `_delete` raise AWS's 404."""

    def __init__(self, store: HttpApiStore) -> None:
        self._store = store

    def _api(self, params: Document) -> HttpApi:
        state = self._store.apis.get(params["ApiId"])
        if state is None:
            raise errors.not_found(f"Invalid API identifier specified {params['ApiId']}")
        return state

    def _found(self, params: Document, kind: str, member: str, what: str) -> tuple[HttpApi, Document]:
        state = self._api(params)
        document: Document | None = getattr(state, kind).get(params[member])
        if document is None:
            raise errors.not_found(f"Unable to find {what} by id {params[member]} within {state.api['ApiId']}")
        return state, document

    def _delete(self, params: Document, kind: str, member: str, what: str) -> Document:
        state, _ = self._found(params, kind, member, what)
        self._store.delete(state.api["ApiId"], kind, params[member])
        return {}


def given(params: Document, *without: str) -> Document:
    return {name: value for name, value in params.items() if value is not None and name not in without}


def refuse(params: Document, names: tuple[str, ...]) -> None:
    for name in names:
        if params.get(name):
            raise errors.not_built(f"{name} of an HTTP API")


def page(documents: Any, params: Document) -> Document:
    items = list(documents)
    token, size = params.get("NextToken") or "0", params.get("MaxResults") or str(_MAX_RESULTS)
    if not token.isdecimal() or not size.isdecimal() or not int(size):
        raise errors.bad_request("Invalid NextToken or MaxResults")
    end = int(token) + min(int(size), _MAX_RESULTS)
    return {"Items": items[int(token) : end], **({"NextToken": str(end)} if end < len(items) else {})}
