"""Pages of a list: at most 50 items whatever MaxItems says (API reference), and an opaque marker."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from preheat.services.lambda_.failures import invalid

_PAGE = 50

Item = TypeVar("Item")


def page(
    member: str,
    items: Sequence[Item],
    key: Callable[[Item], str],
    params: Mapping[str, Any],
    show: Callable[[Item], Any],
) -> dict[str, Any]:
    """`{member: [...], "NextMarker": ...}` of items in the order of their keys, each as `show` shows it.

    A marker names the last item given, so a page after a deletion neither repeats nor leaves out any.
    """
    after = _key_of(params["Marker"]) if params.get("Marker") else None
    size = max(1, min(params.get("MaxItems") or _PAGE, _PAGE))
    rest = sorted((item for item in items if after is None or key(item) > after), key=key)
    answer: dict[str, Any] = {member: [show(item) for item in rest[:size]]}
    if len(rest) > size:
        answer["NextMarker"] = base64.urlsafe_b64encode(key(rest[size - 1]).encode()).decode()
    return answer


def version_key(version: str) -> str:
    """Orders $LATEST first, then 1, 2, ... 10."""
    return f"{int(version) if version.isdigit() else 0:010d}"


def _key_of(marker: str) -> str:
    try:
        return base64.urlsafe_b64decode(marker).decode()
    except ValueError as error:
        raise invalid("Invalid Marker") from error
