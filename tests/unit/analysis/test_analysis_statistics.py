"""Intervals cover, tails are counted, and what a closed loop left out is put back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic
from analysis_cases import Case

from preheat.analysis.mixture import split
from preheat.analysis.statistics import audit, corrected, intervals
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise


def test_intervals_cover_the_true_median_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        low_high = intervals(generator.lognormal(0, 1, 80), (50,))["p50"]
        assert low_high is not None
        hits += low_high[0] <= 1.0 <= low_high[1]
    assert 0.90 <= hits / 300 <= 0.99


def test_few_values_have_no_interval() -> None:
    assert intervals([1.0, 2.0, 3.0]) == {"p50": None, "p95": None, "p99": None}


def test_coordinated_omission_is_corrected(tmp_path: Path) -> None:
    run = synthetic.make_run(users=5, run_time_s=10)
    for row in run.rows:
        row["intended_start_s"] = f"{float(row['start_s']) - 0.5:.6f}"
    study = load_study(run.write(tmp_path))
    plain, later = summarise(study, {})["all_ms"], corrected(study)
    assert later is not None
    assert later["p50"] == pytest.approx(plain["p50"] + 500, abs=0.01)


def test_requests_sent_on_time_need_no_correction(cases: dict[str, Case]) -> None:
    assert corrected(cases["typical"].study) is None


def test_a_given_moment_is_audited_instead_of_the_guess(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    everything = audit(case.study, 1e9)
    assert everything is not None
    assert everything["recall"] == 1
    assert everything["precision"] == pytest.approx(case.summary["cold"] / everything["labelled"], abs=1e-4)
    assert audit(cases["empty"].study) is None


@pytest.mark.parametrize("seed", range(40))
def test_the_guess_is_that_of_an_eye(cases: dict[str, Case], seed: int) -> None:
    """Counted over all seconds at once, it is the rule of the notebook, which takes the median of each second."""
    generator = np.random.default_rng(seed)
    count = int(generator.integers(2, 60))
    at, times = np.sort(generator.uniform(0, 12, count)), np.round(generator.lognormal(3, 1.5, count)) + 1
    study = replace(cases["typical"].study)
    study.answered = (at, times)
    seconds = at.astype(int)
    slow = [each for each in np.unique(seconds) if np.median(times[seconds == each]) > 2 * np.median(times)]
    found = audit(study)
    assert found is not None
    assert found["cold_start_end_time_s"] == (max(slow) + 1 if slow else 0)


SHAPES = {
    "lognormal": lambda g, n: g.lognormal(0, 1, n),
    "exponential": lambda g, n: 50 + g.exponential(50, n),
    "pareto": lambda g, n: g.pareto(2, n) + 1,
    "normal": lambda g, n: g.normal(100, 5, n),
    "gamma": lambda g, n: 30 + g.gamma(1.5, 20, n),
    "uniform": lambda g, n: g.uniform(50, 100, n),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", [30, 300, 3000])
def test_one_population_stays_one(shape: str, count: int) -> None:
    generator = np.random.default_rng(11)
    assert sum(split(SHAPES[shape](generator, count)) is not None for _ in range(60)) <= 1


@pytest.mark.parametrize(("few", "many"), [(3, 500), (200, 200), (500, 6), (40, 1000)])
def test_two_populations_are_found(few: int, many: int) -> None:
    generator = np.random.default_rng(5)
    values = np.concatenate([generator.lognormal(7.5, 0.15, few), generator.lognormal(4, 0.2, many)])
    found = split(values)
    assert found is not None
    assert ((found.upper > 0.5) == (np.arange(few + many) < few)).mean() > 0.99


def test_restores_are_read_from_the_journal_and_drawn(tmp_path: Path) -> None:
    from preheat.analysis.anatomy import RESTORE, by_name, cold_anatomies

    run = synthetic.make_run(users=4, run_time_s=4)
    inits = [record for record in run.journal if record["type"] == "init_done"]
    for record in inits:
        run.journal.remove(record)
        kept = {name: record[name] for name in ("at_ms", "environment", "function", "version")}
        run.journal.append(kept | {"type": "restored", "restore_ms": 3.5, "hooks_ms": None, "origin": "fork"})
    study = load_study(run.write(tmp_path))
    parts = [by_name(found) for _, found in cold_anatomies(study)]
    assert any(part.get(RESTORE) == pytest.approx(3.5) for part in parts)
