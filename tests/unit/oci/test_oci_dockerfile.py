"""Reading Dockerfiles: continuations, quotes, variables, and errors that name their line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.oci.dockerfile import DockerfileError, Instruction, parse, substitute


def only(text: str) -> Instruction:
    (instruction,) = parse(text)
    return instruction


def test_instructions_have_names_texts_and_lines() -> None:
    text = '# a comment\n\nfrom base AS one\n  COPY a \\\n# inside\n\n    b /c/\nCMD ["x"]'
    found = [(i.name, i.text, i.line) for i in parse(text)]
    assert [(name, line) for name, _, line in found] == [("FROM", 3), ("COPY", 4), ("CMD", 8)]
    assert found[1][1].split() == ["a", "b", "/c/"]
    assert found[2][1] == '["x"]'


def test_windows_line_ends_and_escape_directives_are_understood() -> None:
    assert [i.text.split() for i in parse("# escape=`\r\nCOPY a `\r\n b\r\n")] == [["a", "b"]]
    assert only("\ufeffCMD x").name == "CMD"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("COPY a b", ["a", "b"]),
        ('COPY "a b" c', ["a b", "c"]),
        ("COPY 'a $NAME' c", ["a $NAME", "c"]),
        ('COPY "a $NAME" c', ["a value", "c"]),
        (r"COPY a\ b \$NAME", ["a b", "$NAME"]),
        (r'COPY "\x \" \$"', [r'\x " $']),
        ("COPY ${NAME}/x $MISSING/y", ["value/x", "/y"]),
        ('COPY ""', [""]),
    ],
)
def test_words_are_split_as_a_shell_splits_them(text: str, words: list[str]) -> None:
    assert only(text).words({"NAME": "value"}) == words


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$A${A}", "11"),
        ("${X:-d}${X-e}${A:-d}", "de1"),
        ("${E:-d}|${E-d}", "d|"),
        ("${A:+i}|${X:+i}|${E+i}", "i||i"),
        ("${X:-$A}", "1"),
        ("$", "$"),
        ("${", "${"),
    ],
)
def test_variables_are_filled_in(text: str, result: str) -> None:
    assert substitute(text, {"A": "1", "E": ""}) == result


def test_pairs_have_a_new_and_an_old_form() -> None:
    assert only('ENV A=1 B="2 3"').pairs({}) == {"A": "1", "B": "2 3"}
    assert only("ENV A some words").pairs({}) == {"A": "some words"}
    assert only("LABEL a.b=c").pairs({}) == {"a.b": "c"}


def test_flags_are_those_of_instructions_that_have_some() -> None:
    copy = only("COPY --from=one --chown=1:2 a b")
    assert (copy.flags, copy.text) == ({"from": "one", "chown": "1:2"}, "a b")
    assert only("CMD --not=a flag").flags == {}


def test_the_json_form_is_a_list_of_strings() -> None:
    assert only('CMD ["a", "b c"]').array() == ["a", "b c"]
    assert only("CMD [a").array() is None
    assert only("CMD [1]").array() is None


@pytest.mark.parametrize(
    ("text", "line"),
    [("", 1), ("FROM a\n\nRUN <<EOF\nx\nEO", 3), ("FROM a\nCOPY", 2), ("FROM a\nCOPY <<x /y", 2)],
)
def test_errors_name_their_line(text: str, line: int) -> None:
    with pytest.raises(DockerfileError, match=f"^line {line}: ") as error:
        parse(text)
    assert error.value.line == line


def test_an_open_quote_is_an_error() -> None:
    with pytest.raises(DockerfileError, match="quote"):
        only('COPY "a b').words({})


@given(st.text())
def test_any_text_is_instructions_or_an_error_with_a_line(text: str) -> None:
    line = 1
    try:
        for instruction in parse(text):
            instruction.words({"A": "b"})
            instruction.array()
    except DockerfileError as error:
        line = error.line
    assert 1 <= line <= len(text.splitlines()) + 1
