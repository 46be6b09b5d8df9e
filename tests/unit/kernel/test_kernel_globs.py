"""Globs that Docker and git read alike, and the one thing that they do not."""

from __future__ import annotations

import re

import pytest

from preheat.kernel.globs import DOCKER, GIT, expression


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*.py", ["a.py", ".py"], ["d/a.py", "a.pyc"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax"]),
        ("a/**", ["a/b", "a/b/c"], ["a"]),
        ("[a-c0].txt", ["b.txt", "0.txt"], ["-.txt", "d.txt"]),
        ("[^a]", ["b", "^"], ["a"]),
        ("[]a]", ["]", "a"], ["b"]),
        (r"[a\-c]", ["-", "c"], ["b"]),
        (r"\*\[", ["*["], ["a["]),
        ("[z-a]", ["[z-a]"], ["z"]),  # no class: Docker refuses it, git matches nothing with it
        ("a[", ["a["], ["a"]),
        ("a.b+(c)", ["a.b+(c)"], ["axb+(c)", "a.bb(c)"]),
        ("a\nb", ["a\nb"], ["ab"]),
    ],
)
@pytest.mark.parametrize("negations", [DOCKER, GIT])
def test_a_glob_matches_what_it_says(pattern: str, matching: list[str], others: list[str], negations: str) -> None:
    wanted = re.compile(expression(pattern, negations))
    assert [path for path in matching if not wanted.fullmatch(path)] == []
    assert [path for path in others if wanted.fullmatch(path)] == []


def test_an_exclamation_mark_negates_a_class_for_git_alone() -> None:
    matches = {negations: re.compile(expression("[!a]", negations)) for negations in (DOCKER, GIT)}
    assert [bool(matches[DOCKER].fullmatch(text)) for text in "!ab"] == [True, True, False]
    assert [bool(matches[GIT].fullmatch(text)) for text in "!ab"] == [True, False, True]
