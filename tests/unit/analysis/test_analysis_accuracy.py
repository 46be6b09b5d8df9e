"""The labels are as right as docs/cold-starts.md says, by every method, on runs of known truth."""

from __future__ import annotations

import random
from pathlib import Path

import accuracy
import pytest
import synthetic
from synthetic_aws import AwsRun, Line, Sent, make_aws_run

from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise

LEAST = {"request-id": 1.0, "log-join": 0.995, "latency-model": 0.985}
"""Share of the labels that claim something which are right."""

PRECISE = 0.95
"""Least share of the requests called cold that are."""

FOUND = {
    # (case, method): least share of the cold requests found
    ("two populations well apart", "log-join"): 0.98,
    ("two populations well apart", "latency-model"): 0.95,
    ("overlapping", "log-join"): 0.9,
    ("three populations", "log-join"): 0.95,
    ("three populations", "latency-model"): 0.9,
    ("all cold", "log-join"): 0.98,
    ("rough network", "log-join"): 0.9,
    ("rough network", "latency-model"): 0.9,
    ("drifting clock", "log-join"): 0.95,
    ("drifting clock", "latency-model"): 0.95,
    ("1% unmatched, other callers", "log-join"): 0.95,
    ("1% unmatched, other callers", "latency-model"): 0.95,
}


@pytest.mark.parametrize("method", accuracy.METHODS)
@pytest.mark.parametrize("case", accuracy.CASES)
def test_labels_are_right(case: str, method: str) -> None:
    score = accuracy.measure(case, method, range(2))
    assert score.accuracy is None or score.accuracy >= LEAST[method]
    if (case, method) in FOUND:
        assert score.recall is not None
        assert score.recall >= FOUND[case, method]
    assert score.precision is None or score.precision >= PRECISE
    if not score.cold:
        assert score.called_cold == 0


@pytest.mark.parametrize("case", ["overlapping", "all cold"])
def test_where_times_cannot_tell_nothing_is_guessed(case: str) -> None:
    score = accuracy.measure(case, "latency-model", range(2))
    assert score.called_cold == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("sigma", [0.3, 0.6, 0.9])
def test_a_long_tail_is_no_cold_start(seed: int, sigma: float, tmp_path: Path) -> None:
    run = make_aws_run(seed=seed, init_ms=None, warm_ms=(60.0, sigma), rtt_ms=30.0)
    (tmp_path / "log.txt").write_text(run.locust_log())
    assert load_study(tmp_path).counts["cold"] == 0


@pytest.mark.parametrize("zone_h", [-12, -3.5, 0, 5.75, 8, 14])
def test_the_time_zone_and_the_clocks_error_are_found(zone_h: float, tmp_path: Path) -> None:
    run = make_aws_run(seed=5, users=20, clock_error_s=-3.2, run_time_s=30)
    (tmp_path / "log.txt").write_text(run.locust_log(zone_h=zone_h))
    (tmp_path / "logs.csv").write_text(run.console_csv(newest_first=True))
    study = load_study(tmp_path)
    summary = summarise(study, {})
    clock = summary["log"]["clock"]
    hours, minutes = divmod(abs(round(zone_h * 60)), 60)
    assert clock["time_zone"] == f"UTC{'-' if zone_h < 0 else '+'}{hours:02d}:{minutes:02d}"
    assert clock["remaining_s"] == pytest.approx(-3.2, abs=0.1)
    assert summary["log"]["matched"] >= 0.98 * len(run.sent)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("users", [20, 100])
def test_runs_with_queues_and_hardly_any_way_are_joined(users: int, seed: int, tmp_path: Path) -> None:
    """A local run: most first requests wait for somebody else's environment and are as slow as the cold ones."""
    local = synthetic.make_run(seed=seed, users=users, run_time_s=20)
    run = AwsRun(users=users, per_s=20)
    for row, truth in zip(local.rows, local.truth, strict=True):
        label = "warm" if truth == "warm_waited" else truth
        run.sent.append(Sent(float(row["start_s"]), float(row["response_ms"]), 200, row["user"], False, label))
    for record in local.journal:
        if record["type"] == "invocation":
            at_s = synthetic.EPOCH_S + record["finished_ns"] / 1e9
            line = Line(at_s, record["duration_ms"], record["init_ms"], record["request_id"], record["log_stream"])
            run.lines.append(line)
    (tmp_path / "log.txt").write_text(run.locust_log(zone_h=0))
    (tmp_path / "logs.csv").write_text(run.console_csv())
    study = load_study(tmp_path)
    found = accuracy.score(run, study, accuracy.Score())
    assert found.accuracy is not None
    assert found.accuracy >= 0.99
    assert found.claimed >= 0.95 * found.requests
    assert found.cold_right >= found.cold - 1


def test_no_line_is_given_to_two_requests(tmp_path: Path) -> None:
    run = make_aws_run(users=60, per_s=60, wait_s=(0.5, 1.0), run_time_s=20, prewarmed=2)
    (tmp_path / "log.txt").write_text(run.locust_log())
    (tmp_path / "logs.csv").write_text(run.insights_csv())
    study = load_study(tmp_path)
    reports = [item.report for item in study.labelled if item.report >= 0]
    assert len(reports) == len(set(reports)) > 0.9 * len(run.sent)
    assert study.use is not None
    assert study.use.matched + study.use.left_over + study.use.outside == len(run.lines)


def test_the_log_of_another_run_is_not_joined(tmp_path: Path) -> None:
    run, other = make_aws_run(seed=1), make_aws_run(seed=2, wait_s=(1.0, 9.0))
    for line in other.lines:
        line.at_s += 400_000
    (tmp_path / "log.txt").write_text(run.locust_log())
    (tmp_path / "logs.csv").write_text(other.insights_csv())
    summary = summarise(load_study(tmp_path), {})
    assert summary["label_method"] == "latency-model"
    assert "log-not-joined" in {warning["code"] for warning in summary["warnings"]}


def test_refused_runs_have_no_cold_starts_and_show_what_set_up_costs(tmp_path: Path) -> None:
    run = make_aws_run(refused=True, rtt_ms=250.0)
    (tmp_path / "log.txt").write_text(run.locust_log())
    summary = summarise(load_study(tmp_path), {})
    assert (summary["cold"], summary["warm"], summary["failed"]) == (0, 0, {"403": len(run.sent)})
    assert "none-reached-function" in {warning["code"] for warning in summary["warnings"]}
    assert summary["connection_setup_method"] == "refused"
    assert summary["connection_setup_ms"]["p50"] == pytest.approx(750, rel=0.1)


def test_set_up_that_explains_the_slow_requests_is_said(tmp_path: Path) -> None:
    run = make_aws_run(init_ms=None, rtt_ms=250.0)
    (tmp_path / "log.txt").write_text(run.locust_log())
    summary = summarise(load_study(tmp_path), {})
    assert summary["cold"] == 0
    assert summary["explained_by_setup"] == run.users
    assert summary["warm"] > 0.9 * (len(run.sent) - run.users)
    assert "connection-setup-explains" in {warning["code"] for warning in summary["warnings"]}


def test_cold_starts_among_distant_first_requests_are_found(tmp_path: Path) -> None:
    run = make_aws_run(users=100, per_s=20, rtt_ms=250.0, prewarmed=2, warm_ms=(60.0, 0.2), init_ms=(1200.0, 0.15))
    (tmp_path / "log.txt").write_text(run.locust_log())
    summary = summarise(load_study(tmp_path), {})
    assert summary["cold"] == run.truth.count("cold") > 5
    assert 0 < summary["label_confidence"] <= 0.9


def test_the_guess_is_audited(tmp_path: Path) -> None:
    run = make_aws_run(users=60, per_s=20, prewarmed=10)
    (tmp_path / "log.txt").write_text(run.locust_log())
    (tmp_path / "logs.csv").write_text(run.insights_csv())
    audit = summarise(load_study(tmp_path), {})["guess_audit"]
    assert 0 < audit["precision"] < 1
    assert audit["recall"] == 1


def test_what_the_json_must_hold(tmp_path: Path) -> None:
    run = make_aws_run(users=10, run_time_s=20)
    (tmp_path / "log.txt").write_text(run.locust_log())
    summary = summarise(load_study(tmp_path), {})
    wanted = {"requests", "ok", "failed", "cold", "warm", "unknown", "unmatched", "label_method", "label_confidence"}
    assert wanted | {"connection_setup_ms", "warm_ms", "cold_ms", "warnings"} <= set(summary)
    assert {"p50", "p95", "p99", "min", "max", "n"} <= set(summary["cold_ms"]) & set(summary["warm_ms"])
    assert all(set(warning) == {"code", "message"} for warning in summary["warnings"])


def any_run(seed: int) -> AwsRun:
    """A run of whatever shape: few users or many, near or far, a smooth network or a rough one, cold starts or none."""
    chosen = random.Random(seed)
    return make_aws_run(
        seed=seed,
        users=chosen.choice([1, 5, 20, 50, 100]),
        per_s=chosen.choice([1, 5, 20, 50]),
        run_time_s=20,
        wait_s=chosen.choice([(3, 5), (1, 1)]),
        rtt_ms=chosen.choice([1, 20, 80, 250]),
        setup_trips=chosen.choice([1, 2, 3]),
        jitter=chosen.choice([0.02, 0.06, 0.2, 0.5]),
        warm_ms=(chosen.choice([2, 10, 50, 300]), chosen.choice([0.05, 0.3, 0.6])),
        init_ms=chosen.choice([None, (300, 0.1), (1500, 0.1), (1500, 0.4), (5000, 0.1)]),
        prewarmed=chosen.choice([0, 2, 10]),
        drift=chosen.choice([0, 0, 1e-3]),
        lost_lines=chosen.choice([0, 0, 0.05]),
        unmatched=chosen.choice([0, 0, 0.02]),
        others=chosen.choice([0, 0, 30]),
    )


@pytest.mark.parametrize(
    ("method", "runs", "least", "precise"), [("log-join", 15, 0.999, 0.99), ("latency-model", 40, 0.99, 0.98)]
)
def test_runs_of_any_shape_are_labelled_right_or_not_at_all(
    method: str, runs: int, least: float, precise: float, tmp_path: Path
) -> None:
    """A ramp takes other requests for first ones where answers are lost or clocks drift: they must not become cold."""
    total = accuracy.Score()
    for seed in range(runs):
        run, folder = any_run(seed), tmp_path / str(seed)
        folder.mkdir()
        accuracy.score(run, accuracy.study_of(run, method, folder), total)
    assert total.cold > 100
    assert total.accuracy is not None
    assert total.precision is not None
    assert total.accuracy >= least
    assert total.precision >= precise
