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
from preheat.services.logs.comparisons import COMPARISONS, Condition, comparison, regex
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

_TOKEN = re.compile(
    r"""\s*(?:(?P<punctuation>\(|\)|&&|\|\||!=|<=|>=|=|<|>)
    |(?P<selector>\$(?:\.[\w@-]+|\[\d+\]|\['[^']*'\])*)
    |"(?P<string>(?:[^"\\]|\\.)*)"
    |%(?P<regex>(?:[^%\\]|\\.)+)%
    |(?P<word>[^\s()&|=<>!"]+))""",
    re.VERBOSE,
)
_STEP = re.compile(r"\.([\w@-]+)|\[(\d+)\]|\['([^']*)'\]")
_MISSING = object()


def _json_matcher(pattern: str) -> Matcher:
    if not pattern.endswith("}"):
        raise invalid(f"Invalid filter pattern: {pattern}")
    condition = _Parser(pattern[1:-1]).parse()

    def matches(message: str) -> bool:
        if not message.lstrip().startswith(("{", "[")):
            return False
        try:
            document = json.loads(message)
        except (ValueError, RecursionError):
            return False
        return condition(document)

    return matches


class _Parser:
    """Recursive descent: or := and ("||" and)*, and := unit ("&&" unit)*, unit := "(" or ")" | condition."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        position = 0
        text = text.rstrip()
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise invalid(f"Invalid filter pattern near {text[position : position + 20]!r}")
            kind = match.lastgroup or ""
            self._tokens.append((kind, match[kind]))
            position = match.end()
        self._next = 0

    def parse(self) -> Condition:
        condition = self._either()
        if self._next < len(self._tokens):
            raise self._unexpected()
        return condition

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("end", "")

    def _take(self) -> tuple[str, str]:
        token = self._peek()
        self._next += 1
        return token

    def _accept(self, punctuation: str) -> bool:
        if self._peek() == ("punctuation", punctuation):
            self._next += 1
            return True
        return False

    def _unexpected(self) -> Exception:
        return invalid(f"Invalid filter pattern: unexpected {self._peek()[1]!r}")

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._accept("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda document: any(part(document) for part in parts)

    def _both(self) -> Condition:
        parts = [self._unit()]
        while self._accept("&&"):
            parts.append(self._unit())
        return parts[0] if len(parts) == 1 else lambda document: all(part(document) for part in parts)

    def _unit(self) -> Condition:
        if self._accept("("):
            condition = self._either()
            if not self._accept(")"):
                raise self._unexpected()
            return condition
        if self._peek()[0] != "selector":
            raise self._unexpected()
        steps = _steps(self._take()[1])
        test = self._test()
        return lambda document: test(_select(document, steps))

    def _test(self) -> Condition:
        """What follows a selector: a comparison, IS NULL, IS TRUE, IS FALSE or NOT EXISTS."""
        kind, text = self._take()
        if kind == "word":
            word = self._take()[1].upper()
            if (text.upper(), word) == ("NOT", "EXISTS"):
                return lambda found: found is _MISSING
            constants = {"NULL": None, "TRUE": True, "FALSE": False}
            if text.upper() == "IS" and word in constants:
                expected = constants[word]
                return lambda found: found is expected
        if kind == "punctuation" and text in COMPARISONS:
            value_kind, value = self._take()
            if value_kind in ("word", "string", "regex"):
                return comparison(text, value_kind, value)
        self._next -= 1
        raise self._unexpected()


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
