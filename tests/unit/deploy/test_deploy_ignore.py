from __future__ import annotations

from pathlib import Path

import pytest

from preheat.deploy.ignore import ignored, project_files, rules


@pytest.mark.parametrize(
    ("pattern", "path", "directory", "expected"),
    [
        ("test.py", "test.py", False, True),
        ("test.py", "deep/test.py", False, True),
        ("/test.py", "deep/test.py", False, False),
        ("deep/test.py", "deep/test.py", False, True),
        ("deep/test.py", "more/deep/test.py", False, False),
        ("*.csv", "data/a.csv", False, True),
        ("*.csv", "data/a.csv.gz", False, False),
        ("data/*.csv", "data/sub/a.csv", False, False),
        ("data/**/a.csv", "data/x/y/a.csv", False, True),
        ("data/**/a.csv", "data/a.csv", False, True),
        ("**/a.csv", "data/a.csv", False, True),
        ("data/**", "data/x/y", False, True),
        ("build/", "build", True, True),
        ("build/", "build", False, False),
        ("a?c", "abc", False, True),
        ("a?c", "a/c", False, False),
        ("[ab].py", "a.py", False, True),
        ("[!ab].py", "a.py", False, False),
        ("[0-9].py", "7.py", False, True),
        ("a.b", "axb", False, False),
        ("[", "[", False, True),
        ("# comment", "# comment", False, False),
        (r"\#odd", "#odd", False, True),
    ],
)
def test_patterns_mean_what_git_says(pattern: str, path: str, directory: bool, expected: bool) -> None:
    assert ignored(path, directory=directory, by=rules([pattern])) is expected


def test_the_last_match_wins() -> None:
    by = rules(["*.json", "!model.json"])
    assert ignored("a.json", directory=False, by=by)
    assert not ignored("model.json", directory=False, by=by)


def test_dockerignore_patterns_start_at_the_root() -> None:
    by = rules(["test.py"], anchored=True)
    assert ignored("test.py", directory=False, by=by)
    assert not ignored("deep/test.py", directory=False, by=by)


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, "utf-8")


def test_a_project_is_its_files_without_what_never_belongs(tmp_path: Path) -> None:
    make(
        tmp_path,
        "lambda_function.py",
        "data/model.joblib",
        ".git/config",
        ".preheat/build/x",
        ".venv/bin/python",
        "__pycache__/a.cpython-311.pyc",
        "runs/1/requests.csv",
        "notes.txt",
        ".dockerignore",
    )
    (tmp_path / ".dockerignore").write_text("notes.txt\n", "utf-8")
    assert list(project_files(tmp_path)) == ["data/model.joblib", "lambda_function.py"]
    (tmp_path / ".lambdaignore").write_text("data/\n!.git\n", "utf-8")  # stands in place of .dockerignore
    assert list(project_files(tmp_path)) == [".git/config", "lambda_function.py", "notes.txt"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    project = tmp_path / "project"
    make(tmp_path, "project/a.py", "shared/b.py")
    (project / "shared").symlink_to(tmp_path / "shared")
    (project / "loop").symlink_to(project)
    (project / "broken").symlink_to(tmp_path / "nowhere")
    assert list(project_files(project)) == ["a.py", "shared/b.py"]
