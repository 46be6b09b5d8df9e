"""Pages of a list: an opaque token that holds the last key shown."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from preheat.services.ecr.failures import invalid

T = TypeVar("T")


def after(params: dict[str, Any]) -> str:
    """The key that the page asked for begins after; "" for the first. Raises InvalidParameterException."""
    token = params.get("nextToken")
    if not token:
        return ""
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:  # not base64, not ASCII, not text
        raise invalid("'nextToken' failed to satisfy constraint: 'Invalid token'") from None


def page(
    member: str, found: Sequence[T], count: int, key: Callable[[T], str], show: Callable[[T], dict[str, Any]]
) -> dict[str, Any]:
    """An answer with up to `count` of what was found, and a token where more was."""
    shown = found[:count]
    answer: dict[str, Any] = {member: [show(item) for item in shown]}
    if len(found) > count:
        answer["nextToken"] = base64.urlsafe_b64encode(key(shown[-1]).encode()).decode()
    return answer
