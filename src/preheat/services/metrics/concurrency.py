"""How many requests were in progress at once, out of the times at which each began and ended. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable

from preheat.services.metrics.points import Point

MINUTE_S = 60
HORIZON_S = 960
"""A request is recorded when it ends, at most 900 s (Lambda's longest timeout) and its init after it began."""

ALL = ""
"""The name under which all functions together are counted."""

UNRESERVED = "*"
"""The name for those functions together that have no reserved concurrency; no function can be called so."""


class InProgress:
    """The spans of the last minutes, by function and minute. Older ones are final and forgotten."""

    def __init__(self, is_reserved: Callable[[str], bool]) -> None:
        self._is_reserved = is_reserved
        self._spans: dict[int, dict[str, array[float]]] = {}
        """By minute (epoch seconds): begin and end in turn."""
        self._touched: set[tuple[str, int]] = set()
        self._floor_s = 0

    def add(self, function: str, began_s: float, ended_s: float) -> None:
        """One request, in progress from `began_s` to `ended_s` (epoch seconds)."""
        for minute in range(_minute(began_s), _minute(ended_s) + 1, MINUTE_S):
            if minute >= self._floor_s:
                self._spans.setdefault(minute, {}).setdefault(function, array("d")).extend((began_s, ended_s))
                self._touched.add((function, minute))

    def changed(self) -> dict[tuple[str, int], Point]:
        """The minutes that requests were added to since the last call, whole; then forgets what is final."""
        points: dict[tuple[str, int], Point] = {}
        for minute in {minute for _, minute in self._touched}:
            functions = self._spans[minute]
            for function in functions:
                if (function, minute) in self._touched:
                    points[function, minute] = levels([functions[function]], minute)
            points[ALL, minute] = levels(functions.values(), minute)
            unreserved = [spans for function, spans in functions.items() if not self._is_reserved(function)]
            if unreserved:
                points[UNRESERVED, minute] = levels(unreserved, minute)
        self._touched.clear()
        self._forget()
        return points

    def settle(self) -> None:
        """What was added so far counts as reported already."""
        self._touched.clear()
        self._forget()

    def _forget(self) -> None:
        self._floor_s = max(self._floor_s, max(self._spans, default=0) - HORIZON_S)
        for minute in [minute for minute in self._spans if minute < self._floor_s]:
            del self._spans[minute]


def levels(spans: Iterable[array[float]], minute: int) -> Point:
    """One value for each request that begins in the minute: how many are in progress then, itself included; and one
    for the minute's beginning, where some go on from before."""
    moves: list[tuple[float, int]] = []
    level = 0
    for pairs in spans:
        for began_s, ended_s in zip(pairs[::2], pairs[1::2], strict=True):
            if began_s < minute:
                level += 1
            else:
                moves.append((began_s, 1))
            moves.append((ended_s, -1))
    moves.sort()
    met: Counter[int] = Counter([level] if level else [])
    for at_s, move in moves:
        if at_s >= minute + MINUTE_S:
            break
        level += move
        if move > 0:
            met[level] += 1
    point = Point()
    for value, times in met.items():
        point.add(float(value), times)
    return point


def _minute(at_s: float) -> int:
    return int(at_s // MINUTE_S) * MINUTE_S
