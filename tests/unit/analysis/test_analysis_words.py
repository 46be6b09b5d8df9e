"""Sentences say what the figures say, in words that read well for one and for many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from analysis_cases import Case
from synthetic_aws import make_aws_run

from preheat.analysis import words
from preheat.analysis.anatomy import cold_anatomies
from preheat.analysis.questions import answers
from preheat.analysis.reading import explanation
from preheat.analysis.study import load_study
from preheat.analysis.summary import summarise


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.00 ms"),
        (0.42, "0.42 ms"),
        (4.06, "4.1 ms"),
        (9.96, "10 ms"),
        (128.4, "128 ms"),
        (999.6, "1.00 s"),
        (1934, "1.93 s"),
        (61_000, "61 s"),
        (3_600_000, "3,600 s"),
    ],
)
def test_durations(ms: float, text: str) -> None:
    assert words.duration(ms) == text


@pytest.mark.parametrize(
    ("part", "whole", "text"), [(0, 10, "0%"), (3, 1487, "0.2%"), (1, 3, "33%"), (5, 5, "100%"), (0, 0, "0%")]
)
def test_percentages(part: float, whole: float, text: str) -> None:
    assert words.percent(part, whole) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("typical", "3 cold starts, up to 2.04 s; warm requests 4.6 ms (median)"),
        ("refused", "None of 308 requests was served by the function"),
        ("none_cold", "No cold starts; warm requests 4.5 ms (median)"),
        ("all_cold", "20 cold starts: 1.90 s (median)"),
        ("one", "1 cold start: 2.04 s"),
        ("empty", "No requests were sent"),
    ],
)
def test_headlines(cases: dict[str, Case], name: str, text: str) -> None:
    assert words.headline(cases[name].summary) == text


def test_ten_lines_with_the_one_that_tells_where_the_report_is(case: Case) -> None:
    lines = words.ten_lines(case.study, case.summary, case.anatomies)
    assert 1 <= len(lines) <= 9
    assert all(line.endswith(".") and "\n" not in line and "None" not in line for line in lines)


def test_the_lines_give_the_counts(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    text = "\n".join(words.ten_lines(case.study, case.summary, case.anatomies))
    for figure in (
        "1,487 requests from 100 users",
        "3 requests were cold (0.2%): 2 waited for the start (1.55 s to 2.04 s), 1 found its",
        "1,451 warm requests",
    ):
        assert figure in text
    assert "33 more requests were warm but waited" in text
    assert "3 environments started = 3 cold + 0 never used" in text


def test_failures_are_told_by_status_and_place(tmp_path: Path) -> None:
    run = synthetic.make_run(users=10, run_time_s=10)
    run.rows[3] |= {"status": 403, "request_id": "stranger"}
    run.rows[4] |= {"status": 0, "request_id": "", "error": "ReadTimeout"}
    study = load_study(run.write(tmp_path))
    lines = words.ten_lines(study, summarise(study, {}), cold_anatomies(study))
    assert "Failed: 1 without an answer, 1 with status 403; 1 never reached the function." in lines


def test_refused_requests_were_not_cold_nor_warm(cases: dict[str, Case]) -> None:
    case = cases["refused"]
    text = "\n".join(explanation(case.study, case.summary, case.anatomies))
    assert "No request reached the function" in text
    assert "0 of 308 requests were tied to a record" in text


def test_the_explanation_names_the_largest_part(cases: dict[str, Case]) -> None:
    case = cases["typical"]
    parts = words.mean_parts(case.anatomies)
    assert max(parts, key=lambda name: parts[name]) == "handler module import"
    assert "largest part of the time was handler module import" in "\n".join(
        explanation(case.study, case.summary, case.anatomies)
    )


def test_nothing_is_guessed_without_a_journal(cases: dict[str, Case]) -> None:
    case = cases["no_journal"]
    assert "unknown" in explanation(case.study, case.summary, case.anatomies)[0]
    assert not any("met a cold start" in line for line in words.ten_lines(case.study, case.summary, case.anatomies))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"package_type": "Zip"}, "deployed as a zip file, without ECR."),
        (
            {"package_type": "Image", "image_uri": "host/iris:latest", "image_digest": "sha256:0f"},
            "deployed from a container image, host/iris:latest, which Lambda had resolved to sha256:0f.",
        ),
        ({"package_type": "Image"}, "deployed from a container image."),
        ({}, "does not tell whether the function was deployed from an image."),
    ],
)
def test_the_answer_about_ecr_is_that_of_the_run(cases: dict[str, Case], facts: dict[str, str], said: str) -> None:
    case = cases["one"]
    known = {name: value for name, value in case.study.folder.info.items() if name not in ("package_type", "image_uri")}
    study = replace(case.study, folder=replace(case.study.folder, info={**known, **facts}))
    (answer,) = [text for question, text in answers(study, case.summary, case.anatomies) if "ECR" in question]
    assert answer.endswith(said)


def told(path: Path) -> tuple[str, str, str]:
    """(headline, the lines, the explanation) of what lies in a folder."""
    study = load_study(path)
    summary = summarise(study, {})
    lines = words.ten_lines(study, summary, cold_anatomies(study))
    return words.headline(summary), "\n".join(lines), "\n".join(explanation(study, summary, cold_anatomies(study)))


def test_a_run_that_was_refused_as_a_whole_is_not_called_unknown(tmp_path: Path) -> None:
    run = make_aws_run(seed=1, refused=True, users=10, run_time_s=15)
    (tmp_path / "locust.txt").write_text(run.locust_log())
    headline, lines, text = told(tmp_path)
    assert headline == f"Not one of {len(run.sent)} requests reached the function: nothing was cold"
    assert "No request reached the function, so none was cold and none warm." in lines
    assert "unknown" not in lines + text
    assert "refused before it reached the function" in text


def test_what_is_not_known_of_a_run_is_not_denied(tmp_path: Path) -> None:
    run = make_aws_run(seed=1, init_ms=None, users=10, run_time_s=15)
    (tmp_path / "locust.txt").write_text(run.locust_log())
    assert "No environment started" not in told(tmp_path)[2]
    (tmp_path / "insights.csv").write_text(run.insights_csv())
    assert "No environment started" in told(tmp_path)[2]


def test_failures_of_a_table_without_their_status_are_not_called_unanswered(tmp_path: Path) -> None:
    (tmp_path / "t_stats.csv").write_text("Type,Name,Request Count,Failure Count\n,Aggregated,300,25\n")
    lines = told(tmp_path)[1]
    assert "the function: 300 requests; 275 ok, 25 failed." in lines
    assert "Failed: 25 with a status that the tables do not tell." in lines
    errors = "POST,/x,\"ConnectionRefusedError(111, 'Connection refused')\",20\nPOST,/x,CatchResponseError('bad'),5\n"
    (tmp_path / "t_failures.csv").write_text(f"Method,Name,Error,Occurrences\n{errors}")
    assert "20 without an answer, 5 with a status that the tables do not tell" in told(tmp_path)[1]
