"""What the benchmark prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import output
from bench.result import Result
from bench.targets import TARGETS, Target

LOWER = Target("lower", "a figure", "ms", at_least=10, aim=5)
HIGHER = Target("higher", "a figure", "1/s", at_least=10, aim=50, higher_is_better=True)


@pytest.mark.parametrize(
    ("target", "value", "verdict"),
    [
        (LOWER, 5, "aim"),
        (LOWER, 5.1, "ok"),
        (LOWER, 10, "ok"),
        (LOWER, 10.1, "MISSED"),
        (HIGHER, 50, "aim"),
        (HIGHER, 49, "ok"),
        (HIGHER, 10, "ok"),
        (HIGHER, 9.9, "MISSED"),
    ],
)
def test_verdict(target: Target, value: float, verdict: str) -> None:
    assert target.verdict(value) == verdict


def test_aims_are_stricter_than_what_must_be_reached() -> None:
    for target in TARGETS:
        assert (target.aim > target.at_least) == target.higher_is_better, target.key


def test_only_measured_rows_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "RESULTS", tmp_path)
    key = "warm_p50_over_fastapi"
    result = Result(key, 0.8123456789, (0.7, 0.9), 400, {"Preheat": [[1.0, 2.0]], "FastAPI": [[2.0]]}, "ms")
    output.write({key: result}, {"cpus": 2})
    assert json.loads((tmp_path / "latest.json").read_text()) == {
        key: {"value": 0.812346, "unit": "ratio", "n": 400, "at_least": 1.2, "aim": 0.85}
    }
    samples = json.loads((tmp_path / "samples.json").read_text())
    assert samples["machine"] == {"cpus": 2}
    assert samples["rows"][key]["rounds"] == {"Preheat": [[1.0, 2.0]], "FastAPI": [[2.0]]}


def test_a_row_shows_value_interval_n_bounds_and_both_sides() -> None:
    result = Result("lower", 6.0, (5.5, 6.5), 3, {"Preheat": [[6.0]], "peer": [[1.0]]}, "ms", "a note")
    first, second = output.row(LOWER, result)
    assert first.split() == ["lower", "6", "ms", "5.5", "..", "6.5", "3", "<=", "10", "<=", "5", "ok"]
    assert second.strip() == "a figure: Preheat p50 6 ms; peer p50 1 ms; a note"


def test_a_row_of_a_later_issue_names_it() -> None:
    later = next(target for target in TARGETS if not target.built)
    assert "not built yet" in output.unbuilt(later)
