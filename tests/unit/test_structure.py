"""Rules about imports that import-linter cannot state: which floors use the standard library only."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "preheat"
KERNEL = sorted((SOURCE / "kernel").glob("*.py"))
GUEST = sorted((SOURCE / "guest").glob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", KERNEL, ids=lambda path: path.stem)
def test_kernel_imports_the_standard_library_msgspec_and_itself_only(path: Path) -> None:
    foreign = [
        name
        for name in imported(path)
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "msgspec"}
        and not f"{name}.".startswith("preheat.kernel.")
    ]
    assert foreign == []


@pytest.mark.parametrize("path", GUEST, ids=lambda path: path.stem)
def test_guest_imports_nothing_of_preheat(path: Path) -> None:
    """It runs in the function's own interpreter, where preheat is not installed: it may use AWS's client."""
    allowed = {*sys.stdlib_module_names, "awslambdaric", "runtime_client", *(member.stem for member in GUEST)}
    assert [name for name in imported(path) if name.partition(".")[0] not in allowed] == []


def test_the_floors_have_files() -> None:
    assert len(KERNEL) > 1
    assert len(GUEST) > 1
