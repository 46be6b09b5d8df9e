"""Space-delimited filter patterns: `[ip, user, status = 4* || status = 5*, bytes > 1000]`. Pure.

After the CloudWatch Logs user guide, "Filter pattern syntax": a message is split at blanks, what stands in quotes or
square brackets is one column; a pattern names every column in turn, `...` stands for any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from preheat.services.logs.comparisons import COMPARISONS, Condition, comparison, number
from preheat.services.logs.failures import invalid

_COLUMN = re.compile(r'"([^"]*)"|\[([^\]]*)\]|(\S+)')
_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>,|\(|\)|&&|\|\||!=|<=|>=|=|<|>)|(?P<rest>\.\.\.)
    |"(?P<string>(?:[^"\\]|\\.)*)"|%(?P<regex>(?:[^%\\]|\\.)+)%|(?P<word>[^\s,()&|=<>!"]+))""",
    re.VERBOSE,
)
_Token = tuple[str, str]


def column_matcher(pattern: str) -> Callable[[str], bool]:
    """A predicate over messages. Raises AwsError InvalidParameterException for a bad pattern."""
    if not pattern.endswith("]"):
        raise invalid(f"Invalid filter pattern: {pattern}")
    items = _items(pattern)
    gaps = [place for place, item in enumerate(items) if item is None]
    if len(gaps) > 1:
        raise invalid(f"Invalid filter pattern: more than one ellipsis: {pattern}")
    conditions = [item for item in items if item is not None]
    before = gaps[0] if gaps else len(conditions)

    def matches(message: str) -> bool:
        columns = [match[match.lastindex or 0] for match in _COLUMN.finditer(message)]
        extra = len(columns) - len(conditions)
        if extra < 0 or (extra and not gaps):
            return False
        kept = columns[:before] + columns[before + extra :]
        return all(condition(column) for condition, column in zip(conditions, kept, strict=True))

    return matches


def _items(pattern: str) -> list[Condition | None]:
    """One condition for each column; None for the ellipsis."""
    tokens = _tokens(pattern)
    items: list[Condition | None] = []
    begin = 0
    for place, token in enumerate([*tokens, ("sign", ",")]):
        if token == ("sign", ","):
            part = tokens[begin:place]
            items.append(None if part == [("rest", "...")] else _Parser(part, pattern).whole())
            begin = place + 1
    return items


def _tokens(pattern: str) -> list[_Token]:
    tokens: list[_Token] = []
    text, position = pattern[1:-1].rstrip(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise invalid(f"Invalid filter pattern near {text[position : position + 20]!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        position = match.end()
    return tokens


class _Parser:
    """One column: nothing, a name, or comparisons of that name joined by && and || (&& binds tighter)."""

    def __init__(self, tokens: Sequence[_Token], pattern: str) -> None:
        self._tokens = [*tokens, ("end", "")]
        self._next = 0
        self._pattern = pattern

    def whole(self) -> Condition:
        if self._tokens[0][0] == "end" or [kind for kind, _ in self._tokens] == ["word", "end"]:
            return lambda column: True
        condition = self._either()
        if self._tokens[self._next][0] != "end":
            raise self._unexpected()
        return condition

    def _take(self) -> _Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _accept(self, sign: str) -> bool:
        found = self._tokens[self._next] == ("sign", sign)
        self._next += found
        return found

    def _unexpected(self) -> Exception:
        return invalid(f"Invalid filter pattern: unexpected {self._tokens[self._next][1]!r} in {self._pattern}")

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._accept("||"):
            parts.append(self._both())
        return lambda column: any(part(column) for part in parts)

    def _both(self) -> Condition:
        parts = [self._unit()]
        while self._accept("&&"):
            parts.append(self._unit())
        return lambda column: all(part(column) for part in parts)

    def _unit(self) -> Condition:
        if self._accept("("):
            condition = self._either()
            if not self._accept(")"):
                raise self._unexpected()
            return condition
        if self._tokens[self._next][0] != "word" or self._tokens[self._next + 1][1] not in COMPARISONS:
            raise self._unexpected()
        self._take()
        sign = self._take()[1]
        kind, value = self._tokens[self._next]
        if kind not in ("word", "string", "regex"):
            raise self._unexpected()
        self._take()
        return _of_column(sign, kind, value)


def _of_column(sign: str, kind: str, value: str) -> Condition:
    """A column compares as a number with a number: one that is none differs from every number."""
    condition = comparison(sign, kind, value)
    if kind != "word" or number(value) is None:
        return condition
    return lambda column: sign == "!=" if (found := number(column)) is None else condition(found)
