"""What starts small functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from profile_functions import RUNTIME, program_of

from preheat.profile.launch import Program
from preheat.sandbox.runtimes import Runtimes


@pytest.fixture(scope="session")
def runtime_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Runtimes(tmp_path_factory.mktemp("runtimes")).directory(RUNTIME)


@pytest.fixture
def function(tmp_path: Path, runtime_dir: Path) -> Callable[[Mapping[str, str]], Program]:
    """Writes files and gives the program that runs them."""
    return lambda files: program_of(tmp_path, files, runtime_dir)
