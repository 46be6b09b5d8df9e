"""Every request is taken apart, the parts add up, and where they cannot, it is said by how much."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import synthetic
from analysis_cases import Case
from synthetic_aws import make_aws_run

from preheat.analysis import decomposition
from preheat.analysis.anatomy import HANDLER, INIT, ORDER, QUEUE, anatomies, by_name, lengths
from preheat.analysis.reading import explanation
from preheat.analysis.report import write_report
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_parts_of_every_request_add_up(cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases["typical"]
    assert decomposition.write_labels(case.study, tmp_path / "labels.csv")
    rows = rows_of(tmp_path / "labels.csv")
    assert len(rows) == len(case.run.rows)
    assert [row["label"] for row in rows] == [str(item.label) for item in case.study.labelled]
    for row in rows:
        parts = [float(row[f"{name} (ms)"]) for name in ORDER if row[f"{name} (ms)"]]
        assert sum(parts) == pytest.approx(float(row["response_ms"]), abs=0.02)
    found = case.summary["decomposition"]
    assert (found["inexact"], found["largest_error_ms"]) == (0, pytest.approx(0, abs=0.01))
    assert found["cold"]["n"] + found["warm"]["n"] + found["warm_waited"]["n"] == case.summary["ok"]
    for label in ("cold", "warm", "warm_waited"):
        chosen = [float(row["response_ms"]) for row in rows if row["label"] == label and row["status"] == "200"]
        assert sum(found[label]["mean_ms"].values()) == pytest.approx(sum(chosen) / len(chosen), abs=0.05)
    assert found["warm_waited"]["mean_ms"][QUEUE] > found["warm"]["mean_ms"].get(QUEUE, 0)


def test_a_joined_log_takes_its_requests_apart_too(tmp_path: Path) -> None:
    run = make_aws_run(prewarmed=2, users=20, run_time_s=20)
    (tmp_path / "a.txt").write_text(run.locust_log())
    (tmp_path / "b.csv").write_text(run.insights_csv())
    found = summarise(load_study(tmp_path), {})["decomposition"]
    inits = [line.init_ms for line in run.lines if line.init_ms is not None]
    assert found["cold"]["mean_ms"][INIT] == pytest.approx(sum(inits) / len(inits), abs=0.01)
    warm = [line.duration_ms for line in run.lines if line.init_ms is None]
    assert found["warm"]["mean_ms"][HANDLER] == pytest.approx(sum(warm) / len(warm), abs=0.01)


def test_clocks_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    run = synthetic.make_run(users=5, run_time_s=10)
    for row in run.rows[:3]:
        row["response_ms"] = f"{float(row['response_ms']) / 1000:.3f}"
    study = load_study(run.write(tmp_path))
    summary = summarise(study, {})
    found = summary["decomposition"]
    assert found["inexact"] >= 1
    assert found["largest_error_ms"] > decomposition.TOLERANCE_MS
    assert f"except in {found['inexact']} request" in "\n".join(explanation(study, summary, []))


def test_requests_of_which_no_server_tells_are_listed_all_the_same(cases: dict[str, Case], tmp_path: Path) -> None:
    case = cases["no_journal"]
    assert case.summary["decomposition"] is None
    assert decomposition.write_labels(case.study, tmp_path / "labels.csv")
    assert {row["label"] for row in rows_of(tmp_path / "labels.csv")} == {str(i.label) for i in case.study.labelled}
    assert not decomposition.write_labels(cases["empty"].study, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["own", "joined", "by id", "all cold"])
def test_all_together_are_taken_apart_as_one_by_one(kind: str, seed: int, tmp_path: Path) -> None:
    if kind in ("own", "all cold"):
        synthetic.make_run(seed=seed, users=20, run_time_s=15, always_cold=kind == "all cold").write(tmp_path)
    else:
        run = make_aws_run(seed=seed, prewarmed=seed, users=15, run_time_s=15)
        (tmp_path / "log.csv").write_text(run.insights_csv())
        (tmp_path / "requests.csv").write_text(run.requests_csv(setup=seed % 2 == 0, ids=kind == "by id"))
    study = load_study(tmp_path)
    told = {id(item): by_name(parts) for item, parts in anatomies(study, study.labelled)}
    assert told
    for item, row in zip(study.labelled, lengths(study).tolist(), strict=True):
        found = {name: ms for name, ms in zip(ORDER, row, strict=True) if ms}
        assert found == pytest.approx(told.get(id(item), {}), abs=1e-6)


def test_labels_are_never_read_as_a_run(tmp_path: Path) -> None:
    folder = synthetic.make_run(users=3, run_time_s=5).write(tmp_path / "run")
    first = write_report(folder, home=folder / "preheat-report").summary
    assert (folder / "preheat-report" / "labels.csv").is_file()
    assert summarise(load_study(folder), {})["requests"] == first["requests"]
