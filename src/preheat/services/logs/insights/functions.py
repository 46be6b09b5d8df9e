"""Functions of the query language (user guide, "Boolean, comparison, numeric, datetime, and other functions"). Pure.

A missing argument gives a missing result, except where the function is about that.
"""

from __future__ import annotations

import ipaddress
import json
import math
import time
from collections.abc import Callable
from typing import Any

from preheat.services.logs.insights.values import Instant, Value, number, order, text, truth

Function = Callable[..., Value]


def _numeric(compute: Callable[..., float]) -> Function:
    def function(*values: Value) -> Value:
        numbers = [number(value) for value in values]
        if any(found is None for found in numbers):
            return None
        try:
            return compute(*numbers)
        except (ValueError, OverflowError):
            return None

    return function


def _textual(compute: Callable[..., Value]) -> Function:
    def function(value: Value, *more: Value) -> Value:
        return None if value is None else compute(text(value), *more)

    return function


def _extreme(best: Callable[..., Value]) -> Function:
    def function(*values: Value) -> Value:
        present = [value for value in values if value is not None]
        return best(present, key=order) if present else None

    return function


def _coalesce(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


def _choose(condition: Value, yes: Value, no: Value = None) -> Value:
    return yes if truth(condition) else no


def _case(*parts: Value) -> Value:
    """case(condition, value, ..., otherwise)"""
    for condition, value in zip(parts[::2], parts[1::2], strict=False):
        if truth(condition):
            return value
    return parts[-1] if len(parts) % 2 else None


def _substr(value: str, start: Value, length: Value = None) -> Value:
    begin, size = number(start), number(length)
    if begin is None:
        return None
    first = max(0, int(begin))
    return value[first:] if size is None else value[first : first + max(0, int(size))]


def _stripped(strip: Callable[[str, str | None], str]) -> Function:
    return _textual(lambda value, characters=None: strip(value, None if characters is None else text(characters)))


def _instant(value: Value) -> Value:
    found = number(value)
    return None if found is None else Instant(int(found))


def _millis(value: Value) -> Value:
    found = number(value)
    return None if found is None else int(found)


def _json(value: str) -> Value:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _is_ip(*versions: int) -> Function:
    def function(value: Value) -> bool:
        try:
            return ipaddress.ip_address(text(value)).version in versions
        except ValueError:
            return False

    return function


def _in_subnet(*versions: int) -> Function:
    def function(value: Value, subnet: Value) -> bool:
        try:
            address, network = ipaddress.ip_address(text(value)), ipaddress.ip_network(text(subnet), strict=False)
        except ValueError:
            return False
        return address.version in versions and address in network

    return function


def _round(value: Any, digits: Any = 0) -> float:
    """Halves away from zero, as AWS's other services round."""
    factor = 10 ** int(digits)
    return math.copysign(math.floor(abs(value) * factor + 0.5) / factor, value)


FUNCTIONS: dict[str, tuple[Function, int, int]] = {
    # numbers
    "abs": (_numeric(abs), 1, 1),
    "ceil": (_numeric(math.ceil), 1, 1),
    "floor": (_numeric(math.floor), 1, 1),
    "sqrt": (_numeric(math.sqrt), 1, 1),
    "log": (_numeric(math.log), 1, 1),
    "round": (_numeric(_round), 1, 2),
    "tonumber": (number, 1, 1),
    "greatest": (_extreme(max), 1, 99),
    "least": (_extreme(min), 1, 99),
    # times
    "frommillis": (_instant, 1, 1),
    "tomillis": (_millis, 1, 1),
    "now": (lambda: int(time.time()), 0, 0),
    # general
    "ispresent": (lambda value: value is not None, 1, 1),
    "coalesce": (_coalesce, 1, 99),
    "if": (_choose, 2, 3),
    "case": (_case, 2, 99),
    # JSON
    "jsonparse": (_textual(_json), 1, 1),
    "jsonstringify": (lambda value: None if value is None else json.dumps(value, separators=(",", ":")), 1, 1),
    # addresses
    "isvalidip": (_is_ip(4, 6), 1, 1),
    "isvalidipv4": (_is_ip(4), 1, 1),
    "isvalidipv6": (_is_ip(6), 1, 1),
    "isipinsubnet": (_in_subnet(4, 6), 2, 2),
    "isipv4insubnet": (_in_subnet(4), 2, 2),
    "isipv6insubnet": (_in_subnet(6), 2, 2),
    # text
    "isempty": (lambda value: value is None or text(value) == "", 1, 1),
    "isblank": (lambda value: value is None or not text(value).strip(), 1, 1),
    "concat": (lambda *values: "".join(map(text, values)), 1, 99),
    "trim": (_stripped(str.strip), 1, 2),
    "ltrim": (_stripped(str.lstrip), 1, 2),
    "rtrim": (_stripped(str.rstrip), 1, 2),
    "strlen": (_textual(len), 1, 1),
    "toupper": (_textual(str.upper), 1, 1),
    "tolower": (_textual(str.lower), 1, 1),
    "substr": (_textual(_substr), 2, 3),
    "replace": (_textual(lambda value, old, new: value.replace(text(old), text(new)) if old else value), 3, 3),
    # the third argument (case-insensitive) has no effect on AWS either (seen there in 2026)
    "strcontains": (lambda value, part, *_: int(value is not None and text(part) in text(value)), 2, 3),
    "startswith": (_textual(lambda value, part: value.startswith(text(part))), 2, 2),
    "endswith": (_textual(lambda value, part: value.endswith(text(part))), 2, 2),
}
"""By lower-case name: (function, fewest arguments, most arguments)."""
