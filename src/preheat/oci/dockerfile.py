"""Reading a Dockerfile (docs.docker.com, "Dockerfile reference"): instructions, words and variables."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

_DIRECTIVE = re.compile(r"#\s*([a-zA-Z]+)\s*=\s*(.+?)\s*$")
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?(?:\s+|$)")
_WITH_FLAGS = frozenset(("FROM", "RUN", "COPY", "ADD", "HEALTHCHECK"))
_HEREDOC = re.compile(r"(?:^|(?<=\s))\d*<<(-?)([\"']?)([A-Za-z_]\w*)\2(?=\s|$)")
_WITH_HEREDOCS = ("RUN", "COPY", "ADD")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-+])([^}]*))?\})")


class DockerfileError(ValueError):
    """What cannot be built, and the line that wants it."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class HereDocument:
    """`marker` is how the instruction's text has it (`<<EOF`); `raw` its lines as written, the last one included;
    `content` what they mean; `expand` says whether variables are filled in (the name was not quoted)."""

    marker: str
    raw: str
    content: str
    expand: bool


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. `text` is what follows its name and flags, continued lines joined; `line` is its first.

    A flag given more than once has its values on a line each.
    """

    name: str
    text: str
    line: int
    flags: Mapping[str, str] = field(default_factory=dict)
    escape: str = "\\"
    documents: tuple[HereDocument, ...] = ()

    def fail(self, message: str) -> DockerfileError:
        return DockerfileError(self.line, message)

    def array(self) -> list[str] | None:
        """The strings of the JSON form `["a", "b"]`; None for the other form."""
        if not self.text.startswith("["):
            return None
        try:
            value = json.loads(self.text)
        except ValueError:
            return None  # Docker, too, then takes it for a shell command
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            return None
        return value

    def words(self, variables: Mapping[str, str]) -> list[str]:
        """Words as a shell splits them: quotes taken off, variables filled in."""
        return _words(self, variables)

    def expand(self, variables: Mapping[str, str]) -> str:
        """The whole text with variables filled in and quotes taken off."""
        return " ".join(_words(self, variables))

    def pairs(self, variables: Mapping[str, str]) -> dict[str, str]:
        """`KEY=value ...` of ENV, LABEL and ARG, or `KEY value with spaces`, the old form of ENV and LABEL."""
        words = self.words(variables)
        if not words:
            raise self.fail(f"{self.name} needs a name and a value")
        if "=" not in words[0]:
            key, _, rest = self.text.partition(" ")
            if not rest.strip():
                raise self.fail(f"{self.name} {key} needs a value")
            return {key: substitute(rest.strip(), variables)}
        pairs: dict[str, str] = {}
        for word in words:
            key, equals, value = word.partition("=")
            if not equals or not key:
                raise self.fail(f"{self.name}: {word!r} is not NAME=value")
            pairs[key] = value
        return pairs


def parse(text: str) -> list[Instruction]:
    """The instructions in order. Raises DockerfileError with a line number."""
    lines = text.removeprefix("\ufeff").splitlines()
    escape = _escape(lines)
    instructions: list[Instruction] = []
    pending, first = "", 0
    numbered = enumerate(lines, 1)
    for number, raw in numbered:
        line = raw.strip()
        if not line or line.startswith("#"):
            continue  # within a continued instruction, too
        first = first or number
        if raw.rstrip().endswith(escape):
            pending += raw.rstrip()[: -len(escape)]
            continue
        instruction = _instruction((pending + raw).strip(), first, escape)
        if instruction.name in _WITH_HEREDOCS:
            found = [_document(match, instruction, numbered) for match in _HEREDOC.finditer(instruction.text)]
            instruction = replace(instruction, documents=tuple(found))
        instructions.append(instruction)
        pending, first = "", 0
    if pending.strip():
        instructions.append(_instruction(pending.strip(), first, escape))
    if not instructions:
        raise DockerfileError(1, "the file has no instructions")
    return instructions


def substitute(text: str, variables: Mapping[str, str]) -> str:
    """Fill in `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:+instead}`; an unknown name is empty."""

    def value(match: re.Match[str]) -> str:
        name, operator, word = match[1] or match[2], match[3], match[4] or ""
        known = variables.get(name)
        there = bool(known) if operator and operator.startswith(":") else known is not None
        if operator and operator.endswith("-"):
            return (known or "") if there else substitute(word, variables)
        if operator and operator.endswith("+"):
            return substitute(word, variables) if there else ""
        return known or ""

    return _VARIABLE.sub(value, text)


def _escape(lines: list[str]) -> str:
    """The escape character: a backslash, or what a directive at the very top says (Windows files: a backtick)."""
    for line in lines:
        match = _DIRECTIVE.match(line.strip())
        if match is None:
            break
        if match[1].lower() == "escape":
            return match[2]
    return "\\"


def _instruction(text: str, line: int, escape: str) -> Instruction:
    name, rest = [*text.split(None, 1), ""][:2]
    flags: dict[str, str] = {}
    while name.upper() in _WITH_FLAGS and (match := _FLAG.match(rest)):
        value = match[2] or ""
        flags[match[1]] = f"{flags[match[1]]}\n{value}" if match[1] in flags else value
        rest = rest[match.end() :]
    if not rest:
        raise DockerfileError(line, f"{name.upper()} needs an argument")
    return Instruction(name.upper(), rest, line, flags, escape)


def _document(match: re.Match[str], instruction: Instruction, lines: Iterator[tuple[int, str]]) -> HereDocument:
    """The lines up to the one that is the name; with `<<-` without the tabs before each."""
    raw: list[str] = []
    content: list[str] = []
    for _, line in lines:
        raw.append(line)
        meant = line.lstrip("\t") if match[1] else line
        if meant == match[3]:
            return HereDocument(
                match[0], "".join(f"{one}\n" for one in raw), "".join(f"{one}\n" for one in content), not match[2]
            )
        content.append(meant)
    raise instruction.fail(f"the here-document {match[0]} has no line {match[3]} that ends it")


def _words(instruction: Instruction, variables: Mapping[str, str]) -> list[str]:
    words: list[str] = []
    word: str | None = None
    text, index, quote = instruction.text, 0, ""
    while index < len(text):
        char = text[index]
        variable = _VARIABLE.match(text, index) if char == "$" and quote != "'" else None
        if char == instruction.escape and quote != "'" and index + 1 < len(text):
            following = text[index + 1]
            keep = quote == '"' and following not in ('"', "$", instruction.escape)
            word = (word or "") + (char + following if keep else following)
            index += 2
            continue
        if variable:
            word = (word or "") + substitute(variable[0], variables)
            index = variable.end()
            continue
        if quote:
            quote, word = ("", word) if char == quote else (quote, (word or "") + char)
        elif char in "\"'":
            quote, word = char, word or ""
        elif char.isspace():
            words, word = ([*words, word], None) if word is not None else (words, None)
        else:
            word = (word or "") + char
        index += 1
    if quote:
        raise instruction.fail("a quote is not closed")
    return [*words, word] if word is not None else words
