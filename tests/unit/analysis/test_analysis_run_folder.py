"""A run's folder is read as far as it goes, and refused in one line where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import synthetic
from synthetic_aws import make_aws_run

from preheat.analysis.run_folder import read_run
from preheat.analysis.study import load_study
from preheat.kernel.errors import PreheatError


def refusal(path: Path) -> tuple[str, int]:
    with pytest.raises(PreheatError) as raised:
        read_run(path)
    assert "\n" not in str(raised.value)
    return str(raised.value), raised.value.exit_code


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    message, code = refusal(tmp_path / "nowhere")
    assert ("no such directory" in message, code) == (True, 252)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    message, code = refusal(tmp_path)
    assert ("no requests.csv" in message, code) == (True, 252)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("requests.csv", b"a,b,c\n1,2,3\n", "has no column"),
        ("run.json", b'{"schema": 1,', "is not JSON"),
        ("run.json", b"[1]", "not a JSON object"),
        ("run.json", b'{"schema": 2}', "schema 2"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    synthetic.make_run(users=2, run_time_s=2).write(tmp_path)
    (tmp_path / name).write_bytes(content)
    message, code = refusal(tmp_path)
    assert (name in message, words in message, code) == (True, True, 255)


def test_what_a_killed_run_leaves_is_enough(tmp_path: Path) -> None:
    synthetic.make_run(users=2, run_time_s=2).write(tmp_path, info=False, journal=False)
    folder = read_run(tmp_path)
    assert (folder.info, folder.journal, len(folder.table.rows)) == ({}, None, 2)


def test_users_over_time_come_from_locusts_history(tmp_path: Path) -> None:
    run = synthetic.make_run(users=4, spawn_rate=2, run_time_s=3)
    run.write(tmp_path)
    history = tmp_path / "locust_logs" / "test_stats_history.csv"
    history.write_bytes(history.read_bytes() + b"176380")  # cut off
    assert read_run(tmp_path).users == run.users


def test_a_locust_log_beside_does_not_hide_what_run_json_says(tmp_path: Path) -> None:
    folder = synthetic.make_run(users=3, run_time_s=3).write(tmp_path)
    line = "[2024-10-24 18:20:31,500] vm/INFO/root: Response"
    text = f"{line} time: 12.00 ms\n{line} status code: 200\n{line} text: hello\n"
    (folder / "locust_logs" / "test_locust_logs.txt").write_text(text)
    run = read_run(folder)
    assert run.info["function"] == "iris"
    assert run.first_text == "hello"
    assert run.clock == "epoch"
    assert all(request.request_id for request in run.table.rows)


@pytest.mark.parametrize("requests", [1, 2, 5])
def test_the_shortest_runs_are_joined_or_left(requests: int, tmp_path: Path) -> None:
    run = make_aws_run(users=requests, run_time_s=1)
    (tmp_path / "log.txt").write_text(run.locust_log())
    (tmp_path / "logs.csv").write_text(run.insights_csv())
    study = load_study(tmp_path)
    assert len(study.labelled) == requests
