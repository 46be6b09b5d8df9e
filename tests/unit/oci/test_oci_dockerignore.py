"""What takes part in a build, and what COPY's globs match."""

from __future__ import annotations

from pathlib import Path

import pytest

from preheat.oci.dockerignore import Context, ignored, rules


@pytest.mark.parametrize(
    ("pattern", "left_out", "kept"),
    [
        ("*.pyc", ["a.pyc"], ["d/a.pyc"]),
        ("**/*.pyc", ["a.pyc", "d/e/a.pyc"], ["a.py"]),
        ("d", ["d", "d/e/f"], ["dd", "x/d"]),
        ("/d/", ["d", "d/e"], ["e"]),
        ("d/?", ["d/e"], ["d/ef"]),
        ("[ab].txt", ["a.txt"], ["c.txt"]),
        ("[^a].txt", ["b.txt"], ["a.txt"]),
        ("*\n!keep", ["a", "b/c"], ["keep", "keep/x"]),
        ("# comment\n\nx", ["x"], ["# comment"]),
    ],
)
def test_patterns_are_dockers(pattern: str, left_out: list[str], kept: list[str]) -> None:
    compiled = rules(pattern)
    assert [path for path in left_out if not ignored(path, compiled)] == []
    assert [path for path in kept if ignored(path, compiled)] == []


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a.py", "b.py", "data/x.csv", "data/deep/y.csv", "secret/key", "secret/public"):
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "outside").write_text("x")
    return tmp_path / "context"


def test_sources_are_found_by_name_and_glob(root: Path) -> None:
    context = Context(root)
    assert context.matching("a.py") == context.matching("./a.py") == context.matching("/a.py") == ["a.py"]
    assert context.matching("*.py") == ["a.py", "b.py"]
    assert context.matching("data/*.csv") == ["data/x.csv"]
    assert context.matching("**/*.csv") == ["data/deep/y.csv", "data/x.csv"]
    assert context.matching(".") == [""]
    assert context.matching("nothing") == []
    assert list(context.below("data")) == ["data/deep", "data/deep/y.csv", "data/x.csv"]


def test_what_is_left_out_cannot_be_copied_unless_brought_back(root: Path) -> None:
    (root / ".dockerignore").write_text("secret\n!secret/public\n.dockerignore\n")
    context = Context(root)
    assert context.matching("secret/key") == []
    assert context.matching("secret/public") == ["secret/public"]
    assert list(context.below("secret")) == ["secret/public"]
    assert "secret/key" not in list(context.below(""))


def test_a_dockerfiles_own_ignore_file_wins(root: Path) -> None:
    (root / ".dockerignore").write_text("a.py")
    (root / "Dockerfile.dockerignore").write_text("b.py")
    assert Context(root, root / "Dockerfile").matching("*.py") == ["a.py"]


@pytest.mark.parametrize("source", ["../outside", "data/../../outside", "/../outside"])
def test_nothing_outside_the_context_is_a_source(root: Path, source: str) -> None:
    with pytest.raises(ValueError, match="outside the build context"):
        Context(root).matching(source.replace("/../", "../", 1) if source.startswith("/") else source)


def test_a_link_out_of_the_context_is_no_source(root: Path) -> None:
    (root / "way-out").symlink_to("../outside")
    with pytest.raises(ValueError, match="outside the build context"):
        Context(root).matching("way-out")
