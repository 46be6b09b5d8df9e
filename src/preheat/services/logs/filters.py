"""CloudWatch filter patterns: terms, phrases, `?any`, `-not`, and JSON conditions. Pure.

After the CloudWatch Logs user guide, "Filter pattern syntax". A term or value may be a regular expression (`%...%`);
space-delimited patterns (`[a, b = 4*]`) are in `columns`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from preheat.services.logs.columns import column_matcher
from preheat.services.logs.comparisons import Condition, comparison, regex
from preheat.services.logs.conditions import Conditions, tokens
from preheat.services.logs.failures import invalid

Matcher = Callable[[str], bool]

_TERM = re.compile(r'\s*([?-]?)(?:"((?:[^"\\]|\\.)*)"|%((?:[^%\\]|\\.)+)%|([^\s"]+))')


def compile_pattern(pattern: str) -> Matcher:
    """A predicate over messages. Raises AwsError InvalidParameterException for a bad pattern."""
    pattern = pattern.strip()
    if not pattern:
        return lambda message: True
    if pattern.startswith("{"):
        return _json_matcher(pattern)
    if pattern.startswith("["):
        return column_matcher(pattern)
    return _text_matcher(pattern)


def _text_matcher(pattern: str) -> Matcher:
    terms: dict[str, list[Matcher]] = {"": [], "?": [], "-": []}
    position = 0
    while position < len(pattern):
        match = _TERM.match(pattern, position)
        if match is None:
            raise invalid("Invalid filter pattern")
        terms[match[1]].append(_term(match))
        position = match.end()
    required, optional, excluded = terms[""], terms["?"], terms["-"]
    if required or excluded:
        optional = []  # the guide: with other terms in the pattern, those with a question mark do not count

    def matches(message: str) -> bool:
        return (
            all(term(message) for term in required)
            and not any(term(message) for term in excluded)
            and (not optional or any(term(message) for term in optional))
        )

    return matches


def _term(match: re.Match[str]) -> Matcher:
    if match[3] is not None:
        search = regex(match[3]).search
        return lambda message: search(message) is not None
    wanted = _bare(match[4]) if match[2] is None else _phrase(match[2])
    return lambda message: wanted in message


def _phrase(quoted: str) -> str:
    return re.sub(r"\\(.)", r"\1", quoted)


def _bare(term: str) -> str:
    """A term without quotes: letters, digits and underscores only, as AWS wants it."""
    if not all(character.isalnum() or character == "_" for character in term):
        raise invalid(f"Invalid character(s) in term '{term}'")
    return term


# JSON patterns: { $.a.b[0] = "x*" && ($.n >= 3 || $.c IS NULL) }

_STEP = re.compile(r"\.([\w@-]+)|\[(\d+)\]|\['([^']*)'\]")
_MISSING = object()
_CONSTANTS = {
    ("IS", "NULL"): None,
    ("IS", "TRUE"): True,
    ("IS", "FALSE"): False,
    ("NOT", "EXISTS"): _MISSING,
}


def _json_matcher(pattern: str) -> Matcher:
    if not pattern.endswith("}"):
        raise invalid(f"Invalid filter pattern: {pattern}")
    condition = Conditions(tokens(pattern[1:-1]), _json_condition).whole()

    def matches(message: str) -> bool:
        if not message.lstrip().startswith(("{", "[")):
            return False
        try:
            document = json.loads(message)
        except (ValueError, RecursionError):
            return False
        return condition(document)

    return matches


def _json_condition(parser: Conditions) -> Condition:
    """A selector and what is said of it: a comparison, IS NULL, IS TRUE, IS FALSE or NOT EXISTS."""
    steps = _steps(parser.take("selector"))
    test = _constant(parser) if parser.at("word") else comparison(*parser.compared())
    return lambda document: test(_select(document, steps))


def _constant(parser: Conditions) -> Condition:
    said = parser.take("word").upper(), parser.take("word").upper()
    if said not in _CONSTANTS:
        raise invalid(f"Invalid filter pattern: unexpected {' '.join(said)!r}")
    expected = _CONSTANTS[said]
    return lambda found: found is expected


def _steps(selector: str) -> list[str | int]:
    return [int(match[2]) if match[2] else match[1] or match[3] for match in _STEP.finditer(selector)]


def _select(document: Any, steps: list[str | int]) -> Any:
    for step in steps:
        if isinstance(step, str):
            if not isinstance(document, dict) or step not in document:
                return _MISSING
        elif not isinstance(document, list) or step >= len(document):
            return _MISSING
        document = document[step]
    return document
