"""The grammar that JSON and space-delimited filter patterns share: comparisons, `&&`, `||` and parentheses. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from preheat.services.logs.comparisons import COMPARISONS, Condition
from preheat.services.logs.failures import invalid

Token = tuple[str, str]
"""(kind, text): a string without its quotes, a regular expression without its percent signs."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<sign>,|\(|\)|&&|\|\||!=|<=|>=|=|<|>)|(?P<rest>\.\.\.)
    |(?P<selector>\$(?:\.[\w@-]+|\[\d+\]|\['[^']*'\])*)
    |"(?P<string>(?:[^"\\]|\\.)*)"|%(?P<regex>(?:[^%\\]|\\.)+)%|(?P<word>[^\s,()&|=<>!"]+))""",
    re.VERBOSE,
)


def tokens(text: str) -> list[Token]:
    """Raises AwsError InvalidParameterException for what is none."""
    found: list[Token] = []
    text, position = text.rstrip(), 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise invalid(f"Invalid filter pattern near {text[position : position + 20]!r}")
        kind = match.lastgroup or ""
        found.append((kind, match[kind]))
        position = match.end()
    return found


class Conditions:
    """Recursive descent: or := and ("||" and)*, and := unit ("&&" unit)*, unit := "(" or ")" | what `unit` reads.

    `unit` is called where one begins; it reads by `take` and `compared`, and raises `unexpected()`.
    """

    def __init__(self, found: Sequence[Token], unit: Callable[[Conditions], Condition]) -> None:
        self._tokens = [*found, ("end", "")]
        self._next = 0
        self._read_unit = unit

    def whole(self) -> Condition:
        """The condition that all tokens together are."""
        condition = self._either()
        if self._tokens[self._next][0] != "end":
            raise self.unexpected()
        return condition

    def take(self, *kinds: str) -> str:
        """The text of the next token, which must be of one of these kinds."""
        kind, text = self._tokens[self._next]
        if kind not in kinds:
            raise self.unexpected()
        self._next += 1
        return text

    def compared(self) -> tuple[str, str, str]:
        """(comparison sign, kind of the value, the value) that come next."""
        if self._tokens[self._next][1] not in COMPARISONS:
            raise self.unexpected()
        sign, kind = self.take("sign"), self._tokens[self._next][0]
        return sign, kind, self.take("word", "string", "regex")

    def at(self, kind: str) -> bool:
        return self._tokens[self._next][0] == kind

    def unexpected(self) -> Exception:
        return invalid(f"Invalid filter pattern: unexpected {self._tokens[self._next][1]!r}")

    def _accept(self, sign: str) -> bool:
        found = self._tokens[self._next] == ("sign", sign)
        self._next += found
        return found

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._accept("||"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda found: any(part(found) for part in parts)

    def _both(self) -> Condition:
        parts = [self._unit()]
        while self._accept("&&"):
            parts.append(self._unit())
        return parts[0] if len(parts) == 1 else lambda found: all(part(found) for part in parts)

    def _unit(self) -> Condition:
        if not self._accept("("):
            return self._read_unit(self)
        condition = self._either()
        if not self._accept(")"):
            raise self.unexpected()
        return condition
