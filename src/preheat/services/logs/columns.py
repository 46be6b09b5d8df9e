"""Space-delimited filter patterns: `[ip, user, status = 4* || status = 5*, bytes > 1000]`. Pure.

After the CloudWatch Logs user guide, "Filter pattern syntax": a message is split at blanks, what stands in quotes or
square brackets is one column; a pattern names every column in turn, `...` stands for any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from preheat.services.logs.comparisons import Condition, comparison, number
from preheat.services.logs.conditions import Conditions, Token, tokens
from preheat.services.logs.failures import invalid

_COLUMN = re.compile(r'"([^"]*)"|\[([^\]]*)\]|(\S+)')
_COMMA = ("sign", ",")


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
    found = tokens(pattern[1:-1])
    items: list[Condition | None] = []
    begin = 0
    for place, token in enumerate([*found, _COMMA]):
        if token == _COMMA:
            items.append(_item(found[begin:place]))
            begin = place + 1
    return items


def _item(part: list[Token]) -> Condition | None:
    """Of one column: nothing, a name, or comparisons of that name."""
    kinds = [kind for kind, _ in part]
    if kinds == ["rest"]:
        return None
    if kinds in ([], ["word"]):
        return lambda column: True
    return Conditions(part, _comparison).whole()


def _comparison(parser: Conditions) -> Condition:
    parser.take("word")
    return _of_column(*parser.compared())


def _of_column(sign: str, kind: str, value: str) -> Condition:
    """A column compares as a number with a number: one that is none differs from every number."""
    condition = comparison(sign, kind, value)
    if kind != "word" or number(value) is None:
        return condition
    return lambda column: sign == "!=" if (found := number(column)) is None else condition(found)
