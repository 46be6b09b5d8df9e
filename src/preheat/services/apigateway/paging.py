"""Pages of a list: `limit` (25 unless told, at most 500, as the API reference says) and `position`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from preheat.services.apigateway.errors import bad_request

DEFAULT_LIMIT = 25
MAX_LIMIT = 500


def page(items: Sequence[dict[str, Any]], params: Mapping[str, Any]) -> dict[str, Any]:
    """`{"items": [...], "position": token}`; the token is absent on the last page."""
    limit = min(params.get("limit") or DEFAULT_LIMIT, MAX_LIMIT)
    if limit < 1:
        raise bad_request("Invalid limit specified")
    start = _offset(params.get("position"))
    result: dict[str, Any] = {"items": list(items[start : start + limit])}
    if start + limit < len(items):
        result["position"] = base64.urlsafe_b64encode(str(start + limit).encode()).decode()
    return result


def _offset(position: str | None) -> int:
    if not position:
        return 0
    try:
        text = base64.b64decode(position, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        text = ""
    if not text.isdigit():
        raise bad_request("Invalid position parameter specified")
    return int(text)
