"""scripts/check_text.py finds what ties the repository to a machine, and nothing else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "check_text.py"


@pytest.fixture(scope="module")
def check_text() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_text", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_machine_paths_and_given_words_are_found_with_their_line(check_text: ModuleType) -> None:
    text = "fine\nsee /wor" + "k/thing and mirror.example\n"
    assert list(check_text.finds(text, ["mirror.example"])) == [(2, "mirror.example"), (2, "/wor" + "k/t")]


@pytest.mark.parametrize("line", ["/var/task/lambda_function.py", "https://host/work", "./work/x", "a/work/x", "/tmp"])
def test_paths_of_lambda_and_relative_ones_pass(check_text: ModuleType, line: str) -> None:
    assert list(check_text.finds(line, [])) == []


def test_pips_hosts_are_read_from_its_configuration(check_text: ModuleType) -> None:
    lines = [
        "global.index-url='https://user:secret@mirror.example:8443/simple'",
        "global.extra-index-url='file:///opt/index'",
        "global.timeout='60'",
    ]
    assert check_text.pip_hosts("\n".join(lines)) == {"mirror.example"}
