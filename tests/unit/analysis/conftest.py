"""Runs of every shape, read and summarised once for all tests."""

from __future__ import annotations

import pytest
from analysis_cases import SHAPES, Case, make_case


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    return {name: make_case(name, tmp_path_factory.mktemp(name)) for name in SHAPES}


@pytest.fixture(params=SHAPES)
def case(cases: dict[str, Case], request: pytest.FixtureRequest) -> Case:
    return cases[request.param]
