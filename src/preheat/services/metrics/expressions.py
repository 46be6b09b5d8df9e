"""Metric math: a subset of CloudWatch's expressions (user guide, "Using math expressions with CloudWatch metrics").

Built: + - * / ^, comparison, AND and OR, numbers, ids, METRICS("part of an id"), and the functions in `FUNCTIONS`.
Everything else (SEARCH, SELECT, ANOMALY_DETECTION_BAND and so on) is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from preheat.services.metrics.failures import invalid_query, not_built
from preheat.services.metrics.math_functions import FUNCTIONS, Value, binary, negate

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)|"(?P<text>[^"]*)"|'(?P<quoted>[^']*)'
    |(?P<operator><=|>=|==|!=|&&|\|\||[-+*/^<>(),\[\]]))""",
    re.VERBOSE,
)
_LEVELS: tuple[tuple[str, ...], ...] = (
    ("||", "OR"),
    ("&&", "AND"),
    ("==", "!=", "<", "<=", ">", ">="),
    ("+", "-"),
    ("*", "/"),
)
_ELSEWHERE = frozenset(
    {
        *("SEARCH", "SELECT", "ANOMALY_DETECTION_BAND", "INSIGHT_RULE_METRIC", "SERVICE_QUOTA", "DB_PERF_INSIGHTS"),
        *("LAMBDA", "SLICE", "SORT", "REMOVE_EMPTY", "TIME_SERIES", "MINUTE", "HOUR", "DAY", "DATE", "MONTH"),
        *("YEAR", "EPOCH"),
    }
)
_DEPTH_MAX = 100

Lookup = Callable[[str], Value]


def evaluate(text: str, lookup: Lookup, ids: list[str], grid: range) -> Value:
    """The value of an expression: a number, a series (epoch seconds to numbers) or a list of series.

    `lookup` gives the value of an id, `ids` are those that METRICS() means, `grid` the beginnings of all periods.
    Raises AwsError ValidationError.
    """
    return _Parser(text, lookup, ids, grid).whole()


class _Parser:
    """Recursive descent that computes as it goes; `_LEVELS` from the loosest operator to the tightest."""

    def __init__(self, text: str, lookup: Lookup, ids: list[str], grid: range) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = 0
        self._depth = 0
        self._lookup = lookup
        self._ids = ids
        self._grid = grid

    def whole(self) -> Value:
        value = self._level(0)
        if self._next < len(self._tokens):
            raise self._unexpected()
        return value

    def _peek(self) -> str:
        """The operator or word that comes next; "" for anything else."""
        kind, text = self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")
        return text if kind in ("operator", "name") else ""

    def _accept(self, *operators: str) -> str:
        found = self._peek()
        if found not in operators or not found:
            return ""
        self._next += 1
        return found

    def _unexpected(self) -> Exception:
        found = self._tokens[self._next][1] if self._next < len(self._tokens) else "the end"
        return invalid_query(f"Error in expression '{self._text}': unexpected {found!r}")

    def _level(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self._power()
        value = self._level(level + 1)
        while operator := self._accept(*_LEVELS[level]):
            value = binary(operator, value, self._level(level + 1))
        return value

    def _power(self) -> Value:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise invalid_query(f"Error in expression '{self._text[:40]}...': it is nested too deeply")
        if self._accept("-"):
            value = negate(self._power())
        else:
            value = self._operand()
            if self._accept("^"):
                value = binary("^", value, self._power())
        self._depth -= 1
        return value

    def _operand(self) -> Value:
        if self._accept("("):
            value = self._level(0)
            self._expect(")")
            return value
        if self._accept("["):
            return self._list("]")
        if self._next == len(self._tokens):
            raise self._unexpected()
        kind, text = self._tokens[self._next]
        self._next += 1
        if kind == "number":
            return float(text)
        if kind == "name":
            return self._call(text) if self._accept("(") else self._lookup(text)
        self._next -= 1
        raise self._unexpected()

    def _list(self, end: str) -> list[Any]:
        items: list[Any] = []
        while not self._accept(end):
            if items:
                self._expect(",")
            items.append(self._argument())
        return items

    def _argument(self) -> Any:
        kind, text = self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")
        if kind == "text" or (kind == "name" and text in ("REPEAT", "LINEAR")):
            self._next += 1
            return text
        return self._level(0)

    def _expect(self, operator: str) -> None:
        if not self._accept(operator):
            raise self._unexpected()

    def _call(self, name: str) -> Value:
        if name in _ELSEWHERE:
            raise not_built(f"The metric math function {name}")
        if name == "METRICS":
            parts = self._list(")")
            wanted = str(parts[0]) if parts else ""
            return [self._lookup(one) for one in self._ids if wanted in one]
        function = FUNCTIONS.get(name)
        if function is None:
            raise invalid_query(f"Error in expression '{self._text}': unknown function {name}")
        arguments = self._list(")")
        try:
            return function(arguments, self._grid)
        except (IndexError, TypeError, ValueError) as error:
            raise invalid_query(f"Error in expression '{self._text}': wrong arguments for {name}") from error


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens = []
    position, text = 0, text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise invalid_query(f"Error in expression '{text}': unexpected {text[position:].lstrip()[:1]!r}")
        kind = match.lastgroup or ""
        tokens.append(("text" if kind == "quoted" else kind, match[kind]))
        position = match.end()
    return tokens
