"""The summary adds up, agrees with the known truth, and warns where a figure could mislead."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from analysis_cases import Case

from preheat.analysis.quantiles import spread
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise
from preheat.analysis.words import headline

PARTITION = ["cold", "warm", "throttled", "failed_before_function", "failed_in_function", "unmatched", "unknown"]


def codes(summary: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in summary["warnings"]}


def summary_of(folder: Path) -> dict[str, Any]:
    return summarise(load_study(folder), {})


def test_labels_sum_to_the_requests(case: Case) -> None:
    assert sum(case.summary[name] for name in PARTITION) == case.summary["requests"] == len(case.run.rows)
    assert case.summary["ok"] + sum(case.summary["failed"].values()) == case.summary["requests"]


def test_counts_are_the_truth(case: Case) -> None:
    truth = Counter(case.run.truth)
    if case.name == "no_journal":
        assert (case.summary["unknown"], case.summary["cold"]) == (len(case.run.rows), 0)
        return
    assert case.summary["cold"] == truth["cold"]
    assert case.summary["warm_waited"] == truth["warm_waited"]
    assert case.summary["warm"] == truth["warm"] + truth["warm_waited"]
    assert case.summary["failed_before_function"] == truth["failed_before_function"]
    assert case.summary["accounting_ok"] is True
    assert case.summary["environments_started"] == case.summary["cold"] + case.summary["environments_never_served"]


def test_times_are_those_of_the_rows(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    for key, label in (("cold_ms", "cold"), ("warm_ms", "warm"), ("waited_ms", "warm_waited")):
        rows = zip(case.run.rows, case.run.truth, strict=True)
        times = [float(row["response_ms"]) for row, truth in rows if truth == label]
        assert case.summary[key]["n"] == len(times)
        assert case.summary[key]["p50"] == pytest.approx(np.median(times), abs=1e-3)
        assert case.summary[key]["max"] == max(times)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("typical", {"few-cold"}),
        ("refused", {"failed-requests", "none-reached-function"}),
        ("none_cold", {"no-cold"}),
        ("all_cold", set()),
        ("one", {"few-cold"}),
        ("empty", {"no-requests"}),
        ("no_journal", {"journal-missing", "one-population", "cold-unknown"}),
    ],
)
def test_warnings(cases: dict[str, Case], name: str, expected: set[str]) -> None:
    assert codes(cases[name].summary) == expected


def test_the_method_is_said(cases: dict[str, Case]) -> None:
    assert (cases["typical"].summary["label_method"], cases["typical"].summary["label_confidence"]) == (
        "request-id",
        1.0,
    )
    assert (cases["no_journal"].summary["label_method"], cases["no_journal"].summary["label_confidence"]) == (
        "none",
        0.0,
    )
    assert cases["no_journal"].summary["environments_started"] is None


def test_a_cold_request_that_found_its_environment_ready_is_still_cold(cases: dict[str, Case]) -> None:
    summary = cases["typical"].summary
    assert (summary["cold"], summary["cold_ready"]) == (3, 1)
    assert (summary["cold_ms"]["n"], summary["cold_waited_ms"]["n"]) == (3, 2)
    assert summary["cold_ms"]["min"] < 50 < 1000 < summary["cold_waited_ms"]["min"]


def test_requests_without_a_record_are_counted_and_listed(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    lost = run.rows[5]["request_id"]
    run.journal = [record for record in run.journal if record.get("gateway_request_id") != lost]
    run.rows[7] |= {"request_id": "", "status": 0, "error": "ReadTimeout"}
    summary = summary_of(run.write(tmp_path))
    assert summary["unmatched"] == 2
    assert [(row["index"], row["request_id"]) for row in summary["unmatched_rows"]] == [(5, lost), (7, "")]
    assert summary["failed"] == {"0": 1}
    assert "unmatched" in codes(summary)


def test_nothing_is_claimed_of_requests_that_are_not_known(tmp_path: Path) -> None:
    run = synthetic.make_run(users=5, run_time_s=5)
    for row in run.rows:
        row["request_id"] = ""
    summary = summary_of(run.write(tmp_path))
    assert summary["unmatched"] == summary["requests"]
    assert {"unmatched", "cold-unknown"} <= codes(summary)
    assert "none-reached-function" not in codes(summary)
    assert "could be tied to the journal" in headline(summary)


def test_a_cold_start_of_another_caller_is_accounted_for(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    stolen = run.truth.index("cold")
    del run.rows[stolen]
    summary = summary_of(run.write(tmp_path))
    assert (summary["cold_from_others"], summary["accounting_ok"]) == (1, True)


def test_environments_that_cannot_be_explained_are_told(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    run.journal = [record for record in run.journal if record["type"] != "environment_started"]
    summary = summary_of(run.write(tmp_path))
    assert summary["accounting_ok"] is False
    assert "accounting" in codes(summary)


def test_a_cold_request_that_failed_is_cold_but_not_timed(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    first = run.truth.index("cold")
    record = next(r for r in run.journal if r.get("gateway_request_id") == run.rows[first]["request_id"])
    record |= {"status": "error", "error_type": "Runtime.ImportModuleError"}
    run.rows[first] |= {"status": 502}
    summary = summary_of(run.write(tmp_path))
    assert summary["cold"] == summary["cold_ms"]["n"] + 1
    assert {"cold-failed", "failed-requests"} <= codes(summary)
    assert summary["accounting_ok"] is True


def test_torn_and_broken_rows_and_lines_are_told(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    folder = run.write(tmp_path, info=False)
    rows = (folder / "requests.csv").read_text().splitlines()
    (folder / "requests.csv").write_text("\n".join([*rows[:3], "broken", *rows[3:], "99,1,POST,/def"]))
    with (folder / "journal.jsonl").open("a") as journal:
        journal.write('{"type": "invo')
    summary = summary_of(folder)
    assert {"torn-row", "bad-rows", "journal-bad-lines", "run-info-missing"} <= codes(summary)
    assert summary["requests"] == len(run.rows)


def test_the_summary_is_json(case: Case) -> None:
    assert json.loads(json.dumps(case.summary, allow_nan=False)) == case.summary


def test_spread_of_nothing_and_of_one() -> None:
    assert spread([]) == {"n": 0, "mean": None, "min": None, "p50": None, "p95": None, "p99": None, "max": None}
    assert spread([2.5]) == {"n": 1, "mean": 2.5, "min": 2.5, "p50": 2.5, "p95": 2.5, "p99": 2.5, "max": 2.5}


def test_quantiles_interpolate_linearly() -> None:
    assert spread([1, 2, 3, 4])["p50"] == 2.5
    assert spread(range(1, 102))["p95"] == 96
