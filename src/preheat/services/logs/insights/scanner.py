"""The tokens of a query, read one at a time: only the parser knows whether a slash divides or begins a pattern."""

from __future__ import annotations

import re
from dataclasses import dataclass

from preheat.aws.failures import NOT_BUILT
from preheat.kernel.errors import AwsError

_BLANK = re.compile(r"(?:\s|\#[^\n]*)*")
_TOKEN = re.compile(
    r"""(?P<number>\d+(?:\.\d+)?(?![\w@]))|(?P<duration>\d+[a-z]+)
    |(?P<name>(?:[A-Za-z_@][\w@]*|`[^`]+`)(?:\.(?:[\w@]+|`[^`]+`)|\[\d+\])*)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<operator>=~|==|!=|<=|>=|[-+*/^%=<>(),|\[\]])""",
    re.VERBOSE,
)
_REGEX = re.compile(r"/((?:[^/\\\n]|\\.)+)/")
_LOOK = re.compile(r"\(\?<([A-Za-z]\w*)>")


@dataclass(frozen=True, slots=True)
class Token:
    """`text` as written, without quotes; `start` and `end` are places in the query."""

    kind: str
    text: str
    start: int
    end: int


class Scanner:
    def __init__(self, query: str) -> None:
        self.query = query
        self._at = 0
        self._ahead: Token | None = None

    def peek(self) -> Token:
        if self._ahead is None:
            self._ahead = self._read()
        return self._ahead

    def take(self) -> Token:
        token = self.peek()
        self._at, self._ahead = token.end, None
        return token

    def regex(self) -> re.Pattern[str] | None:
        """A pattern between slashes, if that comes next. Java's named groups become Python's."""
        start = self._skip()
        found = _REGEX.match(self.query, start)
        if found is None:
            return None
        try:
            pattern = re.compile(_LOOK.sub(r"(?P<\1>", found[1].replace(r"\/", "/")))
        except re.error as error:
            raise malformed(f"invalid pattern {found[0]}: {error}", self.query, start, found.end()) from error
        self._at, self._ahead = found.end(), None
        return pattern

    @property
    def end_of_last(self) -> int:
        """The place behind the token taken last."""
        return self._at

    def unexpected(self) -> AwsError:
        token = self.peek()
        what = f"unexpected symbol found {token.text}" if token.kind != "end" else "unexpected end of the query"
        return malformed(what, self.query, token.start, token.end)

    def _skip(self) -> int:
        found = _BLANK.match(self.query, self._at)
        return found.end() if found else self._at

    def _read(self) -> Token:
        start = self._skip()
        if start == len(self.query):
            return Token("end", "", start, start)
        match = _TOKEN.match(self.query, start)
        if match is None:
            raise malformed(f"unexpected symbol found {self.query[start]}", self.query, start, start + 1)
        kind, found = match.lastgroup or "", match[0]
        if kind == "string":
            found = re.sub(r"\\(.)", _unescaped, found[1:-1], flags=re.DOTALL)
        elif kind == "name":
            found = found.replace("`", "")
            kind = "quoted" if "`" in match[0] else kind
        return Token(kind, found, start, match.end())


def _unescaped(match: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(match[1], match[1])


def malformed(message: str, query: str, start: int, end: int) -> AwsError:
    """MalformedQueryException, with the place in words and as the API's offsets."""
    line = query.count("\n", 0, start) + 1
    position = start - (query.rfind("\n", 0, start) + 1)
    location = {"startCharOffset": start, "endCharOffset": end}
    full = f"{message} at line {line} and position {position}"
    compile_error = {"message": full, "location": location}
    return AwsError("MalformedQueryException", full, fields={"queryCompileError": compile_error})


def not_built(what: str) -> AwsError:
    return AwsError(NOT_BUILT, f"{what} of Logs Insights is not built in preheat yet", 501)
