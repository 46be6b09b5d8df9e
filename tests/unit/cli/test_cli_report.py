"""`preheat report`: data on standard output, progress and warnings on standard error, exit codes as documented."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from preheat.cli.report import command

HEADER = "index,start_s,response_ms,status,request_id\n"
COLD = {
    **{"type": "invocation", "at_ms": 100_000, "request_id": "l", "gateway_request_id": "g", "environment": "e"},
    **{"function": "iris", "version": "$LATEST", "cold": True, "wait_ms": 900, "duration_ms": 20, "init_ms": 890},
    **{"received_ns": 0, "started_ns": 900_000_000, "finished_ns": 920_000_000, "billed_ms": 910, "memory_mb": 512},
    **{"max_memory_mb": 90, "status": "ok", "error_type": None, "log_group": "g", "log_stream": "s"},
}
STARTED = {
    **{"type": "environment_started", "at_ms": 100_000, "environment": "e", "function": "iris", "version": "$LATEST"},
    **{"revision_id": "r1", "sandbox": "process", "init_type": "on-demand"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cold request, and one that was refused."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "requests.csv").write_text(f"{HEADER}0,100,930,200,g\n1,101,2,403,x\n")
    (folder / "journal.jsonl").write_text(f"{json.dumps(STARTED)}\n{json.dumps(COLD)}\n")
    return folder


def test_json_on_standard_output_is_the_summary(run: Path) -> None:
    result = CliRunner().invoke(command, [str(run), "--json"])
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary == json.loads((run / "summary.json").read_text())
    assert (summary["schema"], summary["requests"], summary["cold"], summary["failed"]) == (1, 2, 1, {"403": 1})
    assert "running the notebook" in result.stderr


def test_ten_lines_and_warnings_apart(run: Path) -> None:
    result = CliRunner().invoke(command, [str(run), "--quiet"])
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) <= 10
    assert "1 request (50%) met a cold start: 930 ms." in lines
    assert lines[-1].endswith("report.html")
    assert "warning: 1 of 2 requests failed." in result.stderr
    assert "…" not in result.stderr


@pytest.mark.parametrize(("path", "code"), [("nowhere", 252), ("empty", 252), ("bad", 255)])
def test_bad_input_is_one_line(tmp_path: Path, path: str, code: int) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "requests.csv").write_text("no,such,columns\n1,2,3\n")
    result = CliRunner().invoke(command, [str(tmp_path / path), "--quiet"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("preheat report: ")


def test_a_place_that_cannot_be_written_to_is_one_line(run: Path) -> None:
    (run / "figures").rename(run / "kept")
    (run / "figures").write_text("in the way")
    result = CliRunner().invoke(command, [str(run), "--quiet"])
    (run / "figures").unlink()
    (run / "kept").rename(run / "figures")
    assert result.exit_code == 255
    assert len(result.stderr.splitlines()) == 1


def test_the_command_is_cheap_to_import() -> None:
    heavy = "{'numpy', 'matplotlib', 'nbclient', 'jinja2', 'msgspec', 'preheat.analysis'}"
    code = f"import sys, preheat.cli.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
