"""`$context.x.y` and `${stageVariables.x}` in plain text: gateway responses, access logs, URIs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

_REFERENCE = re.compile(r"\$(?:\{(?P<braced>[\w.-]+)\}|(?P<bare>\w+(?:\.[\w-]+)+))")


def substitute(text: str, variables: Mapping[str, Any], missing: str | None = None) -> str:
    """`text` with every reference to one of `variables` replaced.

    A reference to a known variable's absent member becomes `missing`, or stays as it is where that is None;
    references to anything else stay.
    """

    def value(match: re.Match[str]) -> str:
        first, *rest = (match["braced"] or match["bare"]).split(".")
        if first not in variables:
            return match[0]
        found = lookup(variables[first], rest)
        if found is None:
            return match[0] if missing is None else missing
        return text_of(found)

    return _REFERENCE.sub(value, text)


def java_map(pairs: Iterable[tuple[str, str]]) -> str:
    """How Java prints a map: `{a=1, b=2}`."""
    return "{" + ", ".join(f"{name}={value}" for name, value in pairs) + "}"


def lookup(value: Any, steps: list[str]) -> Any:
    """The member that the steps lead to, or None."""
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any) -> str:
    """A value in text: strings bare, everything else as JSON."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
