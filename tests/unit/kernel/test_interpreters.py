"""Which Python a runtime's name means: on PATH, pyenv's, uv's, the py launcher's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from preheat.kernel.errors import PreheatError
from preheat.kernel.interpreters import interpreter


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A machine without any other Python."""
    for name in ("PYENV_ROOT", "XDG_DATA_HOME", "UV_PYTHON_INSTALL_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    interpreter.cache_clear()
    yield tmp_path
    interpreter.cache_clear()


def python(path: Path, version: str = "python3.4") -> Path:
    """A program that says it is a Python of this version, or where one is, as the launcher would."""
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)
    return path


def test_our_own_version_is_ourselves() -> None:
    assert interpreter(f"python3.{sys.version_info.minor}") == Path(sys.executable)


def test_one_on_the_path_comes_first(home: Path) -> None:
    python(home / ".pyenv/versions/3.4.1/bin/python")
    found = python(home / "bin/python3.4")
    assert interpreter("python3.4") == found


def test_the_newest_of_pyenvs_then_of_uvs(home: Path) -> None:
    for patch in ("3.4.9", "3.4.10"):
        python(home / ".pyenv/versions" / patch / "bin/python")
        python(home / ".local/share/uv/python" / f"cpython-{patch}-linux-x86_64-gnu" / "bin/python3.4")
    assert interpreter("python3.4") == home / ".pyenv/versions/3.4.10/bin/python"
    interpreter.cache_clear()
    for path in (home / ".pyenv").rglob("python"):
        path.unlink()
    assert interpreter("python3.4").parents[1].name == "cpython-3.4.10-linux-x86_64-gnu"


def test_their_own_variables_say_where_else_they_are(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(home / "uv"))
    by_uv = python(home / "uv/cpython-3.4.2-linux/bin/python3.4")
    assert interpreter("python3.4") == by_uv
    interpreter.cache_clear()
    monkeypatch.setenv("PYENV_ROOT", str(home / "pyenv"))
    by_pyenv = python(home / "pyenv/versions/3.4.0/bin/python")
    assert interpreter("python3.4") == by_pyenv


def test_what_the_py_launcher_would_start(home: Path) -> None:
    found = python(home / "opt/python3.4")
    python(home / "bin/py", str(found))
    assert interpreter("python3.4") == found


def test_one_of_another_version_is_not_taken_and_the_missing_one_is_named(home: Path) -> None:
    python(home / "bin/python3.4", "python3.9")
    with pytest.raises(PreheatError, match=r"no interpreter for runtime python3\.4 found: install python3\.4"):
        interpreter("python3.4")
