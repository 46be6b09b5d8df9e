"""Two runs side by side: a real difference is clear, none is none, and the first run is the baseline."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_aws import make_aws_run

from preheat.analysis.compare import lines, load_runs, sentences
from preheat.analysis.compare_page import write_comparison
from preheat.analysis.statistics import share_difference
from preheat.cli.compare import command
from preheat.kernel.errors import PreheatError


def folder(path: Path, seed: int, warm_ms: float) -> Path:
    path.mkdir(parents=True)
    run = make_aws_run(seed=seed, warm_ms=(warm_ms, 0.3), run_time_s=30)
    (path / "requests.csv").write_text(run.requests_csv())
    (path / "log.csv").write_text(run.insights_csv())
    return path


def test_a_difference_is_clear_and_no_difference_is_not(tmp_path: Path) -> None:
    runs = [folder(tmp_path / "a", 1, 20.0), folder(tmp_path / "b", 5, 20.0), folder(tmp_path / "c", 3, 80.0)]
    _, found = load_runs(runs)
    same, slower = (each["warm_ms"]["p50"] for each in found["differences"])
    assert not same["clear"]
    assert slower["clear"]
    assert slower["difference_ms"] == pytest.approx(60, abs=5)
    assert slower["interval_ms"][0] < slower["difference_ms"] < slower["interval_ms"][1]
    assert "b: a warm request takes about as long" in "\n".join(lines(found))


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    runs = [str(folder(tmp_path / "a", 1, 20.0)), str(folder(tmp_path / "b", 2, 20.0))]
    table = CliRunner().invoke(command, [*runs, "--no-page"])
    assert table.exit_code == 0
    assert "cold p50" in table.stdout
    data = json.loads(CliRunner().invoke(command, [*runs, "--json", "--no-page"]).stdout)
    assert [run["requests"] > 0 for run in data["runs"]] == [True, True]


def test_one_run_cannot_be_compared_and_none_is_an_error(tmp_path: Path) -> None:
    assert CliRunner().invoke(command, [str(tmp_path)]).exit_code == 2
    with pytest.raises(PreheatError):
        load_runs([tmp_path, tmp_path])


def test_the_page_the_document_and_the_pictures_are_written(tmp_path: Path) -> None:
    runs = [folder(tmp_path / "before" / "run", 1, 20.0), folder(tmp_path / "<after>" / "run", 3, 80.0)]
    done = CliRunner().invoke(command, [*map(str, runs), "--json", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    data = json.loads(done.stdout)
    assert data == json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [run["name"] for run in data["runs"]] == ["before/run", "<after>/run"]
    assert all((tmp_path / "out" / name).stat().st_size for name in data["files"].values())
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "&lt;after&gt;" in page
    assert "<after>" not in page
    assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", page)
    assert re.search(r"In &lt;after&gt;/run a warm request takes 6\d.ms more", page)


@pytest.mark.filterwarnings("error")
def test_runs_of_which_only_totals_are_known_are_laid_beside_others(tmp_path: Path) -> None:
    known, totals = folder(tmp_path / "known", 1, 20.0), tmp_path / "totals"
    totals.mkdir()
    (totals / "a_stats.csv").write_text("Type,Name,Request Count,Failure Count\n,Aggregated,300,0\n")
    for runs in ([totals, known], [known, totals], [totals, totals]):
        found, printed = write_comparison(runs, tmp_path / "out")
        assert "too few single requests to say what changed" in found["sentence"]
        assert [each["cold_share"] for each in found["differences"]] == [None]
        assert any(line.startswith("requests") for line in printed)


def test_the_share_of_cold_requests_has_an_interval(tmp_path: Path) -> None:
    _, found = load_runs([folder(tmp_path / "a", 1, 20.0), cold_only(tmp_path / "b")])
    share = found["differences"][0]["cold_share"]
    assert share["clear"]
    assert share["interval"][0] < share["difference"] < share["interval"][1]
    told = " ".join(sentences(found, found["differences"][0]))
    assert "100% of the requests are cold" in told


def cold_only(path: Path) -> Path:
    path.mkdir(parents=True)
    run = make_aws_run(always_cold=True, users=5, run_time_s=30)
    (path / "requests.csv").write_text(run.requests_csv())
    (path / "log.csv").write_text(run.insights_csv())
    return path


@pytest.mark.parametrize(("first", "other"), [((50, 100), (80, 100)), ((0, 40), (0, 50)), ((3, 3), (0, 3))])
def test_differences_of_shares_agree_with_chance(first: tuple[int, int], other: tuple[int, int]) -> None:
    """The interval covers what resampling both shares gives, and 0 where the shares are the same."""
    found = share_difference(first, other)
    assert found is not None
    low, high = found["interval"]
    assert -1 <= low <= found["difference"] <= high <= 1
    generator = np.random.default_rng(1)
    draws = generator.beta(other[0] + 0.5, other[1] - other[0] + 0.5, 4000) - generator.beta(
        first[0] + 0.5, first[1] - first[0] + 0.5, 4000
    )
    assert np.mean((draws >= low) & (draws <= high)) == pytest.approx(0.95, abs=0.05)
    assert share_difference((0, 0), other) is None


def test_shares_that_the_unknown_requests_could_turn_round_are_not_compared(tmp_path: Path) -> None:
    """One run has cold requests, the other may have as many among those that nothing is known of."""
    for name, case in (("a", {"users": 60}), ("b", {"init_ms": None, "rtt_ms": 250.0, "users": 60})):
        run = make_aws_run(seed=2, run_time_s=15, **case)
        (tmp_path / name).mkdir()
        (tmp_path / name / "locust.txt").write_text(run.locust_log())
    _, found = load_runs([tmp_path / "a", tmp_path / "b"])
    first, other = found["runs"]
    assert first["cold"] > 0
    assert other["cold"] == 0
    assert other["unknown"] >= first["cold"]
    assert found["differences"][0]["cold_share"] is None
    printed = "\n".join(lines(found))
    assert "of the requests are cold" not in printed
    assert "cold or warm not known" in printed
