"""Two runs side by side: a real difference is clear, none is none, and the first run is the measure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_aws import make_aws_run

from preheat.analysis.compare import compare, lines
from preheat.cli.compare import command
from preheat.kernel.errors import PreheatError


def folder(path: Path, seed: int, warm_ms: float) -> Path:
    path.mkdir()
    run = make_aws_run(seed=seed, warm_ms=(warm_ms, 0.3), run_time_s=30)
    (path / "requests.csv").write_text(run.requests_csv())
    (path / "log.csv").write_text(run.insights_csv())
    return path


def test_a_difference_is_clear_and_no_difference_is_not(tmp_path: Path) -> None:
    runs = [folder(tmp_path / "a", 1, 20.0), folder(tmp_path / "b", 5, 20.0), folder(tmp_path / "c", 3, 80.0)]
    found = compare(runs)
    same, slower = (each["warm_ms"]["p50"] for each in found["differences"])
    assert not same["clear"]
    assert slower["clear"]
    assert slower["difference_ms"] == pytest.approx(60, abs=5)
    assert slower["interval_ms"][0] < slower["difference_ms"] < slower["interval_ms"][1]
    assert "b: warm median" in "\n".join(lines(found))


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    runs = [str(folder(tmp_path / "a", 1, 20.0)), str(folder(tmp_path / "b", 2, 20.0))]
    table = CliRunner().invoke(command, runs)
    assert table.exit_code == 0
    assert "cold p50" in table.stdout
    data = json.loads(CliRunner().invoke(command, [*runs, "--json"]).stdout)
    assert [run["requests"] > 0 for run in data["runs"]] == [True, True]


def test_one_run_cannot_be_compared_and_none_is_an_error(tmp_path: Path) -> None:
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == 2
    with pytest.raises(PreheatError):
        compare([tmp_path, tmp_path])
