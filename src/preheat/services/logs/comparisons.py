"""One value of an event against what a filter pattern says of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from preheat.services.logs.failures import invalid

Condition = Callable[[Any], bool]


def regex(written: str) -> re.Pattern[str]:
    """What stands between percent signs."""
    try:
        return re.compile(written)
    except re.error as error:
        raise invalid(f"Invalid regular expression in filter pattern: %{written}%: {error}") from error


COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


def comparison(operator: str, kind: str, value: str) -> Condition:
    """Numbers compare as numbers; text by = and != only, with `*` standing for anything, or by a regular expression."""
    compare = COMPARISONS[operator]
    wanted = number(value) if kind == "word" else None
    if wanted is not None:
        return lambda found: isinstance(found, int | float) and not isinstance(found, bool) and compare(found, wanted)
    if operator not in ("=", "!="):
        raise invalid(f"Invalid filter pattern: {operator} needs a number, not {value!r}")
    if kind == "regex":
        search = regex(value).search
        return lambda found: isinstance(found, str) and (search(found) is not None) == (operator == "=")
    wildcard = re.compile(".*".join(map(re.escape, value.split("*"))), re.DOTALL)
    return lambda found: isinstance(found, str) and (wildcard.fullmatch(found) is not None) == (operator == "=")


def number(text: str) -> float | None:
    """None for what is none."""
    try:
        return float(text)
    except ValueError:
        return None
