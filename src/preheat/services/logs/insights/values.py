"""The values of the query language: numbers, texts, times, truth, JSON; None is a field that is not there. Pure."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec

Value = Any
"""int, float, str, bool, list, dict or None."""


class Instant(int):
    """Epoch milliseconds that are shown as a time. Arithmetic makes a plain number of it."""

    __slots__ = ()


class Discovered(float):
    """A number as AWS finds it in a log line: shown as Java writes a double. Arithmetic makes a plain number of it."""

    __slots__ = ()


def number(value: Value) -> int | float | None:
    """The value as a number where it is one, in words or digits; truth is 1 or 0."""
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        try:
            found = float(value)
        except ValueError:
            return None
        return found if math.isfinite(found) else None
    return None


def text(value: Value) -> str:
    """The value as results show it; "" where there is none."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, Instant):
        moment = datetime.fromtimestamp(value // 1000, UTC)
        return f"{moment:%Y-%m-%d %H:%M:%S}.{value % 1000:03d}"
    if isinstance(value, Discovered):
        return java_double(value)
    if isinstance(value, float):
        return plain(value)
    return str(value) if isinstance(value, int) else msgspec.json.encode(value).decode()


def plain(value: float) -> str:
    """A computed number: at most four digits behind the point (as in AWS's sample results: 122.0703), but of a small
    one its first four that are not zero: the price of a request must not read as nothing."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    digits = 4 if value == 0 or abs(value) >= 0.1 else min(3 - math.floor(math.log10(abs(value))), 300)
    rounded = f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if rounded == "-0" else rounded


def java_double(value: float) -> str:
    """Java's Double.toString: 1395.0, 1.28E8 from ten million on (seen in discovered fields of real log records)."""
    size = abs(value)
    if value == 0 or 1e-3 <= size < 1e7:
        digits = repr(float(value))
        return digits if "e" not in digits else f"{float(value):f}"
    if not math.isfinite(size):
        return plain(value)
    candidates = (f"{float(value):.{digits}e}" for digits in range(1, 18))
    shortest = next(candidate for candidate in candidates if float(candidate) == value)
    mantissa, _, exponent = shortest.partition("e")
    return f"{mantissa}E{int(exponent)}"


def truth(value: Value) -> bool:
    """Whether a filter lets it pass."""
    found = number(value)
    return bool(value) if found is None else bool(found)


def order(value: Value) -> tuple[int, float, str]:
    """A key to sort mixed values by: missing ones first, then numbers, then text."""
    if value is None:
        return (0, 0.0, "")
    found = number(value)
    return (2, 0.0, text(value)) if found is None else (1, float(found), "")


def same(left: Value, right: Value) -> bool:
    """Numbers compare as numbers, also where one is text; truth also by its name."""
    if left is None or right is None:
        return False
    for one, other in ((left, right), (right, left)):
        if isinstance(one, bool) and isinstance(other, str) and other.lower() in ("true", "false"):
            return one == (other.lower() == "true")
    first, second = number(left), number(right)
    if first is not None and second is not None:
        return first == second
    return text(left) == text(right)
