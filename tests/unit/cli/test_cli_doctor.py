"""`preheat doctor`: every finding is shown, as lines and as JSON."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from preheat import doctor
from preheat.cli.doctor import command
from preheat.doctor import Finding
from preheat.kernel.errors import PreheatError


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    findings = [Finding(True, "machine", "Linux, 2 cores"), Finding(False, "memory limit", "not enforced")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)


def test_lines(found: None) -> None:
    shown = CliRunner().invoke(command, [])
    assert shown.stdout == "ok   machine: Linux, 2 cores\nno   memory limit: not enforced\n"


def test_json(found: None) -> None:
    shown = CliRunner().invoke(command, ["--json"])
    assert json.loads(shown.stdout) == {
        "schema": 1,
        "findings": [
            {"ok": True, "what": "machine", "detail": "Linux, 2 cores"},
            {"ok": False, "what": "memory limit", "detail": "not enforced"},
        ],
    }


def test_a_missing_interpreter_is_a_no_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(runtime: str) -> str:
        raise PreheatError(f"no interpreter for runtime {runtime} found: install {runtime}", 253)

    monkeypatch.setattr(doctor, "interpreter", missing)
    runtimes = [finding for finding in doctor.examine() if finding.what.startswith("runtime ")]
    assert runtimes
    assert not any(finding.ok for finding in runtimes)
    assert all("install python3." in finding.detail for finding in runtimes)
