"""Globs of paths as regular expressions: Docker's (Go's filepath.Match and `**`; docs.docker.com, "Dockerignore file")
and git's (git-scm.com/docs/gitignore), which differ in what negates a class."""

from __future__ import annotations

import re

_TOKEN = re.compile(r"\*\*/?|\*|\?|\[([!^]?)(\]?(?:\\.|[^\]\\])+|\])\]|\\.|.", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)|([^-])", re.DOTALL)
"""In a class: every character but the dash of a range."""
_WILD = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
DOCKER, GIT = "^", "!^"
"""What negates a class."""


def expression(pattern: str, negations: str) -> str:
    """For `fullmatch`. `*` and `?` stop at "/", `**/` is any number of directories, `[a-z]` a class; a backslash takes
    the next character as it is, and so is a class that cannot be one (`[z-a]`)."""

    def translated(token: re.Match[str]) -> str:
        text, sign, inside = token[0], token[1], token[2]
        if text in _WILD:
            return _WILD[text]
        if inside is None:
            return re.escape(text[-1])
        if sign not in negations:
            sign, inside = "", sign + inside
        found = ("[^" if sign else "[") + _ESCAPED.sub(lambda one: re.escape(one[1] or one[2]), inside) + "]"
        try:
            re.compile(found)
        except re.error:
            return re.escape(text)
        return found

    return _TOKEN.sub(translated, pattern)
