"""`preheat load` as a user runs it, against a small server that answers as the local cloud does."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from preheat.load import journal

LOCUSTFILE = """
import os
from locust import HttpUser, constant, task

class One(HttpUser):
    wait_time = constant(0.1)
    @task
    def ask(self):
        self.client.post("/default/" + os.environ["FUNCTION_NAME"], json={})
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "locustfile.py").write_text(LOCUSTFILE, "utf-8")
    return tmp_path


def start(project: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "LOCUST_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "preheat", "load", *arguments],
        cwd=project,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_a_run_leaves_a_complete_folder(project: Path, server) -> None:  # type: ignore[no-untyped-def]
    server.withheld = 2
    arguments = ("demo", "--host", f"{server.url}/", "--users", "3", "--spawn-rate", "10", "--run-time", "1s")
    loading = start(project, *arguments, "--out", "out", "--json", "--", "--reset-stats")
    output, errors = loading.communicate(timeout=60)
    assert loading.returncode == 0, errors
    summary = json.loads(output)
    out = project / "out"
    rows = list(csv.DictReader((out / "requests.csv").open(encoding="utf-8", newline="")))
    assert summary["requests"] == len(rows) == len(server.seen) > 3
    assert (summary["schema"], summary["run"], summary["failed"], summary["users"]) == (1, "out", 0, 3)
    assert (summary["cold"], summary["environments_started"], summary["unrecorded"]) == (1, 1, 0)
    assert {seen.target for seen in server.seen.values()} == {"/default/demo"}
    assert server.withheld == 0  # it asked again until the last invocation was there
    check_run_json(json.loads((out / "run.json").read_text()), server.since_ms)
    assert len((out / "journal.jsonl").read_text().splitlines()) == len(rows) + 1
    logs = {path.name for path in (out / "locust_logs").iterdir()}
    assert logs >= {
        "test_stats.csv",
        "test_stats_history.csv",
        "test_failures.csv",
        "test_exceptions.csv",
        "test_locust_report.html",
        "test_locust_logs.txt",
    }


def check_run_json(run: dict[str, object], since_ms: float) -> None:
    assert run["schema"] == 1
    assert run["started_at"] == pytest.approx(since_ms / 1000, abs=0.001)
    assert run["finished_at"] > run["started_at"]  # type: ignore[operator]
    assert (run["exit_code"], run["function"], run["target"]) == (0, "demo", "local")
    assert (run["users"], run["spawn_rate"], run["run_time_s"]) == (3, 10, 1)
    assert (run["sandbox"], run["max_inits"]) == ("process", 2)
    assert (run["memory_mb"], run["timeout_s"], run["runtime"], run["architecture"]) == (256, 9, None, "arm64")
    assert (run["package_type"], run["image_digest"]) == ("Image", "sha256:" + "0" * 64)
    assert str(run["image_uri"]).endswith("/iris:latest")
    assert run["locust_argv"][-1] == "--reset-stats"  # type: ignore[index]
    assert set(run["machine"]) == {"cpus", "memory_mb", "python", "system"}  # type: ignore[call-overload]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_is_kept(project: Path, server, number: signal.Signals) -> None:  # type: ignore[no-untyped-def]
    loading = start(project, "--host", server.url, "--users", "2", "--run-time", "10m", "--out", "out", "--quiet")
    assert server.arrived.wait(30)
    loading.send_signal(number)
    output, errors = loading.communicate(timeout=60)
    assert loading.returncode == 130, errors
    assert "Traceback" not in errors
    out = project / "out"
    rows = list(csv.DictReader((out / "requests.csv").open(encoding="utf-8", newline="")))
    assert {row["request_id"] for row in rows} == set(server.seen)
    assert f"Requests  {len(rows)} by" in output
    run = json.loads((out / "run.json").read_text())
    assert (run["exit_code"], run["finished_at"] is None) == (130, False)
    assert (out / "locust_logs" / "test_locust_report.html").is_file()


def test_failed_requests_fail_the_command_only_when_asked(project: Path, server) -> None:  # type: ignore[no-untyped-def]
    text = LOCUSTFILE.replace('["FUNCTION_NAME"]', '["FUNCTION_NAME"] + "?status=500"')
    (project / "locustfile.py").write_text(text, "utf-8")
    arguments = ("--host", server.url, "--users", "1", "--run-time", "1s", "--quiet")
    plain = start(project, *arguments)
    asked = start(project, *arguments, "--out", "asked", "--fail-on-errors")
    output, errors = plain.communicate(timeout=60)
    assert plain.returncode == 0, errors
    assert "0 failed" not in output
    asked.communicate(timeout=60)
    assert asked.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 253, "nothing is deployed"),
        (("missing",), 253, "missing is not deployed"),
        (("--host", "http://127.0.0.1:1", "--locustfile", "none.py"), 252, "none.py: no such locustfile"),
        (("--host", "http://127.0.0.1:1", "--run-time", "soon"), 252, "--run-time soon"),
        (("--host", "http://127.0.0.1:1", "--", "--processes", "2"), 252, "--processes"),
    ],
)
def test_mistakes_are_one_line(project: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    loading = start(project, *arguments)
    output, errors = loading.communicate(timeout=60)
    assert (loading.returncode, output) == (code, "")
    assert words in errors
    assert len(errors.splitlines()) == 1
    assert not (project / "runs").exists()


def test_the_journal_is_joined_by_either_id() -> None:
    lines = [
        '{"type": "environment_started"}',
        '{"type": "invocation", "request_id": "a", "gateway_request_id": "A", "cold": true}',
        '{"type": "invocation", "request_id": "b", "gateway_request_id": null, "cold": false}',
        '{"type": "throttle", "request_id": "c", "gateway_request_id": "C"}',
        "",
    ]
    found = journal.summarise(lines, frozenset({"A", "b", "C", "d"}))
    assert found == journal.Journal(environments_started=1, cold=1, missing=frozenset({"d"}))
